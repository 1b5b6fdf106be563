"""The network that is exported: the published one in float32, with all outputs that a clinic needs."""

import keras
from keras import layers

from helpers.explanation.maps import last_feature_map
from helpers.study import StudyError
from helpers.training.features import middle_layer

LOGITS, FEATURES, MIDDLE, FEATURE_MAP, ACTIVATION = OUTPUTS = (
    "logits",
    "features",
    "middle_features",
    "feature_map",
    "class_activation",
)


def exported_network(model: keras.Model) -> keras.Model:
    """A network of `models`, from images uint8 [n, side, side, 3] to float32 outputs by their names in OUTPUTS.

    logits: [n, classes], before the softmax; features: [n, d], what the head's first dropout reads; middle_features:
    [n, channels], the mean activations of `features.middle_layer`; feature_map: [n, height, width, channels], the last
    one; class_activation: [n, height, width, classes], the share of each cell in each logit. The cells sum to the
    logits without their biases. This output exists only if nothing but an average and
    one dense layer follow the map. Raises StudyError for a network with another head.
    """
    network = keras.models.clone_model(model, clone_function=_in_float32)
    network.set_weights(model.get_weights())
    named = {layer.name: layer for layer in network.layers}
    dropouts = [name for name in named if name.startswith("head_dropout")]
    if "head_softmax" not in named or not dropouts:
        raise StudyError(f"{model.name}: it has no layers head_dropout and head_softmax. Choose a model of this study.")
    softmax, feature_map = named["head_softmax"], last_feature_map(network).output
    kernel, bias = softmax.get_weights()
    added = {LOGITS: layers.Dense(softmax.units), ACTIVATION: layers.Conv2D(softmax.units, 1, use_bias=False)}
    outputs = {
        LOGITS: added[LOGITS](softmax.input),
        FEATURES: named[dropouts[0]].input,
        MIDDLE: keras.ops.mean(named[middle_layer(model)].output, axis=(1, 2)),
        FEATURE_MAP: feature_map,
    }
    added[LOGITS].set_weights([kernel, bias])
    if "head_pool" in named and len(dropouts) == 1:
        outputs[ACTIVATION] = added[ACTIVATION](feature_map)
        added[ACTIVATION].set_weights([kernel[None, None] / (feature_map.shape[1] * feature_map.shape[2])])
    return keras.Model(network.inputs[0], outputs, name=model.name)


def input_specification(network: keras.Model, images: int | None = None) -> list[keras.InputSpec]:
    """What an exported network takes: this number of images, or any number."""
    return [keras.InputSpec(shape=(images, *network.inputs[0].shape[1:]), dtype="uint8", name="image")]


def convolutions(network: keras.Model) -> list[str]:
    """The names of a network's convolutions, the first one first."""
    return [layer.name for layer in network.layers if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)]


def _in_float32(layer: keras.Layer) -> keras.Layer:
    """A new layer of the same kind that computes in float32, also if its network was trained in bfloat16."""
    return type(layer).from_config(layer.get_config() | {"dtype": "float32"})
