"""Batch normalisation and AdamW, each computed by a single TensorFlow kernel."""

import warnings

import keras
import numpy as np
from keras import ops

from helpers.backend import tensorflow_gpus

WARM_UP_SHARE = 0.1  # share of all steps in which the learning rate climbs from 0
# Private members of Keras' AdamW that FusedAdamW uses. Another version of Keras may lack them.
PRIVATE = (
    "_apply_weight_decay",
    "_backend_update_step",
    "_use_weight_decay",
    "_get_variable_index",
    "_momentums",
    "_velocities",
)


def fast_layer(layer: keras.Layer) -> keras.Layer:
    """A new layer with the configuration of `layer`, of a faster equivalent type if there is one."""
    kind = type(layer)
    if keras.config.backend() == "tensorflow" and kind is keras.layers.BatchNormalization:
        kind = FusedNormalization
    return kind.from_config(layer.get_config())


class FusedNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of maps [n, height, width, channels], computed by TensorFlow's fused kernel.

    Keras computes it in about forty operations. On CPUs TensorFlow does not fuse them, and they take up to half of a
    training step. The kernel gives the same numbers in a third of that time.
    """

    def call(self, inputs, training=None, mask=None):
        import tensorflow as tf

        learning = bool(training and self.trainable)
        if training and not learning and tensorflow_gpus():
            return super().call(inputs, training)  # on GPUs the kernel has no deterministic gradient for this case
        known = {} if learning else {"mean": self.moving_mean, "variance": self.moving_variance}
        options = {"epsilon": self.epsilon, "is_training": learning, **known}
        answer, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, self.gamma, self.beta, **options)
        if learning:
            # Keras averages the variance of the batch, but the kernel gives the unbiased estimate.
            count = ops.cast(ops.size(inputs) // inputs.shape[-1], "float32")
            self._average(self.moving_mean, mean)
            self._average(self.moving_variance, variance * (count - 1) / count)
        return answer

    def _average(self, moving, value) -> None:
        moving.assign(self.momentum * moving + (1 - self.momentum) * value)


class CosineRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that climbs from 0 to `peak` in `warm_up` steps and then falls along a cosine to 0 at `steps`."""

    def __init__(self):
        self.peak, self.warm_up, self.steps = (
            keras.Variable(1.0, trainable=False, dtype="float32", name=name) for name in ("peak", "warm_up", "steps")
        )

    def __call__(self, step):
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warm_up) / (self.steps - self.warm_up), 0, 1)
        falling = 0.5 * (1 + ops.cos(np.pi * progress))
        return self.peak * ops.where(step < self.warm_up, step / self.warm_up, falling)


class RestartableAdamW(keras.optimizers.AdamW):
    """Keras' AdamW with the schedule `CosineRate`; it can be reset for another training run.

    ema: share of the running average of the weights that each step keeps, or 0 for no average.
    """

    def __init__(self, weight_decay: float, ema: float):
        rate = CosineRate()
        average = {"use_ema": True, "ema_momentum": ema} if ema else {}
        super().__init__(rate, weight_decay=weight_decay, **average)
        # As attributes they belong to the optimizer's variables, which a compiled step reads at each call.
        self.peak, self.warm_up, self.steps = rate.peak, rate.warm_up, rate.steps

    def restart(self, peak: float, steps: int) -> None:
        """Reset all variables, and schedule the learning rate over `steps`, a WARM_UP_SHARE of them as warm-up."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))
        warm_up = max(1, int(steps * WARM_UP_SHARE))
        self.peak.assign(peak)
        self.warm_up.assign(warm_up)
        self.steps.assign(max(steps, warm_up + 1))


class FusedAdamW(RestartableAdamW):
    """The same, computed by TensorFlow's kernel for Adam.

    Keras updates each variable in about thirty operations. For a MobileNet they are a third of all that TensorFlow
    traces and compiles. The kernel is one operation, and the rate is computed once for all variables.
    """

    def _apply_weight_decay(self, trainable_variables):
        """Do nothing: `_backend_update_step` applies the decay."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        import tensorflow as tf

        rate, step = ops.cast(learning_rate, "float32"), ops.cast(self.iterations + 1, "float32")
        settings = {"lr": rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        settings |= {"beta1_power": self.beta_1**step, "beta2_power": self.beta_2**step}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._use_weight_decay(variable):
                variable.assign_sub(variable * (rate * self.weight_decay))
            index = self._get_variable_index(variable)
            updated = {"var": variable, "m": self._momentums[index], "v": self._velocities[index]}
            handles = {name: one.value.handle for name, one in updated.items()}
            tf.raw_ops.ResourceApplyAdam(**handles, grad=gradient, **settings)


def adamw(weight_decay: float, ema: float) -> RestartableAdamW:
    """The fastest AdamW for this backend and this version of Keras; warns if Keras lacks what `FusedAdamW` needs."""
    if keras.config.backend() != "tensorflow":
        return RestartableAdamW(weight_decay, ema)
    stock = keras.optimizers.AdamW()
    stock.build([])
    if missing := [name for name in PRIVATE if not hasattr(stock, name)]:
        warnings.warn(
            f"Keras {keras.__version__} has no {', '.join(missing)} in AdamW: training uses Keras' own optimizer, "
            "which is slower. Install the version of Keras in requirements.txt for full speed.",
            stacklevel=2,
        )
        return RestartableAdamW(weight_decay, ema)
    return FusedAdamW(weight_decay, ema)
