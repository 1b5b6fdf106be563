"""The demo's stand-in for ImageNet: a small MobileNet that learnt to see structures in drawn pictures.

`python -m helpers.models.pretraining` draws the pictures, trains, and writes WEIGHTS anew, which takes some minutes.
The pictures are of other lesions than the demo's, and the task is not diagnosis but structures: does the
picture show a network, vessels or milia? So the demo can ask what pretraining brings, without a download.
"""

from pathlib import Path

import keras
from keras import layers

from helpers.backend import set_seed
from helpers.demo.generate import draw_structures
from helpers.models.augmentation import augment
from helpers.models.networks import mobilenet_backbone
from helpers.study import ROOT

WEIGHTS = ROOT / "helpers" / "models" / "demo_mobilenet.weights.h5"
ALPHA, SIDE, SEED = 0.25, 64, 1  # of the notebooks; the demo's own lesions are drawn with seed 0
PICTURES, EPOCHS, BATCH, RATE = 6000, 16, 64, 4e-3


def pretrain(pictures: int = PICTURES, epochs: int = EPOCHS, path: Path = WEIGHTS) -> float:
    """Draw, train and write the weights of the backbone, as Keras keeps them without a top; returns the AUC on the tenth
    of the pictures that was not trained on, averaged over the structures."""
    set_seed(SEED)
    images, structures = draw_structures(pictures, SIDE, SEED)
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    features = layers.GlobalAveragePooling2D()(
        mobilenet_backbone(augment(inputs, ["symmetries"], SEED), 1, ALPHA, "none")
    )
    model = keras.Model(inputs, layers.Dense(structures.shape[1], activation="sigmoid")(layers.Dropout(0.2)(features)))
    steps = epochs * (pictures * 9 // 10 // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 10, steps, warmup_target=RATE, warmup_steps=max(1, steps // 10)
    )
    areas = keras.metrics.AUC(multi_label=True, num_labels=structures.shape[1], name="auc")
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), "binary_crossentropy", metrics=[areas])
    fitted = model.fit(images, structures, BATCH, epochs, verbose=2, validation_split=0.1)
    backbone = keras.applications.MobileNet(input_shape=(SIDE, SIDE, 3), alpha=ALPHA, include_top=False, weights=None)
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    path.parent.mkdir(parents=True, exist_ok=True)
    backbone.save_weights(path)
    return float(fitted.history["val_auc"][-1])


if __name__ == "__main__":
    print(f"AUC on pictures not trained on: {pretrain():.3f}")
