"""Layers and optimiser whose steps TensorFlow computes by one kernel each."""

import keras
import numpy as np
from keras import ops

from helpers.backend import tensorflow_gpus


class FusedNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of maps [n, height, width, channels] by the one kernel that TensorFlow has for it.

    Keras writes it as some forty operations. Where no compiler fuses these, as in TensorFlow on processors, they take
    up to half of the time of a training step; the kernel takes a third of theirs and gives the same numbers.
    """

    def call(self, inputs, training=None, mask=None):
        import tensorflow as tf

        learning = bool(training and self.trainable)
        if training and not learning and tensorflow_gpus():
            return super().call(inputs, training)  # the kernel has no deterministic gradient for it on GPUs
        known = {} if learning else {"mean": self.moving_mean, "variance": self.moving_variance}
        fused = tf.compat.v1.nn.fused_batch_norm
        answer, mean, variance = fused(
            inputs, self.gamma, self.beta, **known, epsilon=self.epsilon, is_training=learning
        )
        if learning:
            # Keras averages the variance of the batch itself, the kernel gives the estimate for what it is drawn from.
            count = ops.cast(ops.size(inputs) // inputs.shape[-1], "float32")
            for moving, of_batch in (
                (self.moving_mean, mean),
                (self.moving_variance, variance * (count - 1) / count),
            ):
                moving.assign(self.momentum * moving + (1 - self.momentum) * of_batch)
        return answer


class CosineRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that climbs from 0 to `peak` in `warm_up` steps and then falls along a cosine to 0 at `steps`."""

    def __init__(self):
        self.peak, self.warm_up, self.steps = (
            keras.Variable(1.0, trainable=False, dtype="float32", name=name) for name in ("peak", "warm_up", "steps")
        )

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = ops.clip((step - self.warm_up) / (self.steps - self.warm_up), 0, 1)
        falling = 0.5 * (1 + ops.cos(np.pi * done))
        return self.peak * ops.where(step < self.warm_up, step / self.warm_up, falling)


class Optimizer(keras.optimizers.AdamW):
    """AdamW under `CosineRate`, which can start anew for another training; ema as in `training.Recipe`."""

    def __init__(self, weight_decay: float, ema: float):
        rate = CosineRate()
        average = {"use_ema": True, "ema_momentum": ema} if ema else {}
        super().__init__(rate, weight_decay=weight_decay, **average)
        # As attributes they are among the optimizer's variables, which a compiled step gets anew each time.
        self.peak, self.warm_up, self.steps = rate.peak, rate.warm_up, rate.steps

    def restart(self, peak: float, warm_up: int, steps: int) -> None:
        """Forget what was learnt of the gradients, and plan the learning rate for so many steps."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))
        for variable, value in ((self.peak, peak), (self.warm_up, warm_up), (self.steps, max(steps, warm_up + 1))):
            variable.assign(value)

    # Keras writes the update of each variable as some thirty operations, a third of all that TensorFlow has to trace
    # and compile of a MobileNet. Its kernel does the same in one, and the rate is computed once for all variables.

    def _apply_weight_decay(self, trainable_variables):
        if keras.config.backend() != "tensorflow":
            super()._apply_weight_decay(trainable_variables)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.config.backend() != "tensorflow":
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import tensorflow as tf

        rate, step = ops.cast(learning_rate, "float32"), ops.cast(self.iterations + 1, "float32")
        settings = {"lr": rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        settings |= {"beta1_power": self.beta_1**step, "beta2_power": self.beta_2**step}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._use_weight_decay(variable):
                variable.assign_sub(variable * (rate * self.weight_decay))
            index = self._get_variable_index(variable)
            touched = {"var": variable, "m": self._momentums[index], "v": self._velocities[index]}
            handles = {name: own.value.handle for name, own in touched.items()}
            tf.raw_ops.ResourceApplyAdam(**handles, grad=gradient, **settings)
