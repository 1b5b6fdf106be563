"""The demo's substitute for ImageNet: a small MobileNet trained to recognise structures in drawn pictures.

`python -m helpers.models.pretraining` draws the pictures, trains, and overwrites WEIGHTS, which takes some minutes. The
pictures show different lesions from the demo's. The task is to recognise structures such as a network, vessels or
milia, not to diagnose. This lets the demo show the effect of pretraining without a download.
"""

from pathlib import Path

import keras
from keras import layers

from helpers.backend import set_seed
from helpers.demo.generate import draw_structures
from helpers.models.augmentation import augment
from helpers.models.mobilenet import Backbone, mobilenet_backbone
from helpers.study import ROOT

WEIGHTS = ROOT / "helpers" / "models" / "demo_mobilenet.weights.h5"
ALPHA, SIDE, SEED = 0.25, 64, 1  # ALPHA and SIDE as in the notebooks; the demo's lesions have seed 0
PICTURES, EPOCHS, BATCH, RATE = 6000, 16, 64, 4e-3


def pretrain(pictures: int = PICTURES, epochs: int = EPOCHS, path: Path = WEIGHTS) -> float:
    """Draw pictures, train, and save the weights of the backbone in Keras' format for a MobileNet without its top.

    Returns the AUC, averaged over the structures, on the tenth of the pictures kept for validation.
    """
    set_seed(SEED)
    images, structures = draw_structures(pictures, SIDE, SEED)
    model = _network(structures.shape[1])
    steps = epochs * (pictures * 9 // 10 // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 10, steps, warmup_target=RATE, warmup_steps=max(1, steps // 10)
    )
    auc = keras.metrics.AUC(multi_label=True, num_labels=structures.shape[1], name="auc")
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), "binary_crossentropy", metrics=[auc])
    fitted = model.fit(images, structures, BATCH, epochs, verbose=2, validation_split=0.1)
    backbone = keras.applications.MobileNet(input_shape=(SIDE, SIDE, 3), alpha=ALPHA, include_top=False, weights=None)
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    path.parent.mkdir(parents=True, exist_ok=True)
    backbone.save_weights(path)
    return float(fitted.history["val_auc"][-1])


def _network(structures: int) -> keras.Model:
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    features = mobilenet_backbone(augment(images, ["symmetries"], SEED), Backbone(alpha=ALPHA))
    features = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(features))
    return keras.Model(images, layers.Dense(structures, activation="sigmoid")(features))


if __name__ == "__main__":
    print(f"AUC on validation pictures: {pretrain():.3f}")
