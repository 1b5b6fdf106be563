"""Networks compiled once: those of one architecture share one compiled network, with its images on the device.

Compiling takes as long as some epochs of a small study. Whatever may differ between two trainings of one architecture
is therefore a variable of the compiled step and not a constant: weights, random seeds, strengths of augmentation, the
course of the learning rate. A model lends its values for the time of a training and gets them back.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from helpers.models import set_trainable
from helpers.study import StudyError, tensorflow_gpus

if TYPE_CHECKING:
    import tensorflow

DEVICE_SHARE = 0.25  # of the device's memory that the images may take; the rest is for training
VALUES = ("seed", "strength", "trainable")  # entries of a layer's configuration that are variables of the compiled step
BATCH_FOR_PREDICTION = 128
SMALLEST_BATCH = 32  # of few images; a multiple of the number of devices

_networks: dict[str, "SharedNetwork"] = {}
_placed: dict[str, tuple] = {}  # the images that are on the device, as the array and the variable


class Reader(keras.Model):
    """A network that fetches its images itself.

    Its input is a dictionary: `own`, int32 [n], rows of `images`; or, without `images`, the uint8 images themselves.
    For training on mixed images also `other`, `share` and `box`, see `mixed`.
    """

    def __init__(self, network: keras.Model, images: keras.Variable | None):
        super().__init__(name="reader")
        self.network, self.images = network, images

    def call(self, batch, training=False):
        pictures = self._fetch(batch["own"])
        if "other" in batch:
            pictures = mixed(pictures, self._fetch(batch["other"]), batch["share"], batch["box"])
        return self.network(pictures, training=training)

    def _fetch(self, batch):
        if self.images is None or keras.config.backend() != "tensorflow":
            return batch if self.images is None else ops.take(self.images, batch, axis=0)
        import tensorflow as tf

        # Gathered from the variable, and not from what was read of it: for bytes only the former has a kernel on GPUs,
        # and without one all images would be copied to the host in every step.
        return tf.gather(self.images.value, batch)


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


class SharedNetwork:
    """The compiled network of one architecture, and what was compiled for it: see `shared`."""

    def __init__(self, model: keras.Model):
        self.network = keras.models.clone_model(model, clone_function=_quick)
        self._readers, self._trainers = {}, {}

    def copy_to(self, model: keras.Model) -> None:
        """Give the present values to a model of this architecture."""
        _copy(self.network, model)

    def predict(self, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Probabilities float32 [n, classes] for the images pixels[rows]; pixels: uint8 [N, side, side, 3]."""
        images = on_device(pixels)
        if (key := _identity(images)) not in self._readers:
            self._readers[key] = Reader(self.network, images)
        # Batches of one shape: each further shape would be compiled anew, and devices share a batch evenly.
        batch = min(BATCH_FOR_PREDICTION, -(-len(rows) // SMALLEST_BATCH) * SMALLEST_BATCH)
        filled = np.resize(rows, -(-len(rows) // batch) * batch)
        own = pixels[filled] if images is None else filled.astype(np.int32)
        return predicted(self._readers[key], {"own": own}, batch)[: len(rows)]

    def trainer(
        self,
        pixels: np.ndarray,
        loss: keras.losses.Loss,
        optimizer: Optimizer,
        trainable: tuple[str, str],
    ) -> keras.Model:
        """The network compiled for training, as a `Reader`: compiled anew only if nothing like it was asked for before.

        The images of `pixels` are put on the device if they fit. optimizer: for its settings; the one that trains is
        the trainer's own, as if new. trainable: see `models.set_trainable`.
        """
        set_trainable(self.network, *trainable)
        images = place(pixels)
        settings = loss.get_config(), optimizer.weight_decay, optimizer.use_ema and optimizer.ema_momentum, trainable
        key = _identity(images), json.dumps(settings, sort_keys=True, default=str)
        if key not in self._trainers:
            trainer = Reader(self.network, images)
            optimizer.build(self.network.trainable_variables)
            # As an object, whose variables are there when the step is traced: TensorFlow traces again for new ones.
            accuracy = keras.metrics.CategoricalAccuracy("accuracy")
            trainer.compile(optimizer, loss, metrics=[accuracy], weighted_metrics=[])
            self._trainers[key] = trainer
        return self._trainers[key]


def shared(model: keras.Model) -> SharedNetwork:
    """The compiled network of this model's architecture, holding the model's values until it is lent to another."""
    key = _architecture(model)
    if key not in _networks:
        _networks[key] = SharedNetwork(model)
    _copy(model, _networks[key].network)
    return _networks[key]


def predicted(model: keras.Model, inputs: np.ndarray | dict[str, np.ndarray], batch: int) -> np.ndarray:
    """Keras' `predict`, for so many inputs as fill whole batches; see `untuned`."""
    if keras.config.backend() != "tensorflow":
        return model.predict(inputs, batch, verbose=0)

    def part(step: int) -> tuple:
        return (keras.tree.map_structure(lambda values: values[step * batch : (step + 1) * batch], inputs),)

    steps = len(keras.tree.flatten(inputs)[0]) // batch
    return model.predict(untuned(lambda: map(part, range(steps)), part(0)), steps=steps, verbose=0)


def untuned(batches: Callable[[], Iterator[tuple]], like: tuple) -> "tensorflow.data.Dataset":
    """A dataset of TensorFlow from what `batches` gives anew each time, read two ahead, that does not tune itself.

    like: one of the batches; the others may differ in their number of images.

    Keras would make one that tunes itself, by a thread that sleeps for 10, 20, 40 ms and so on. As of TensorFlow 2.21
    the end of such a dataset now and then waits for it to wake up: an epoch then takes up to twice as long.
    """
    import tensorflow as tf

    shapes = keras.tree.map_structure(lambda values: tf.TensorSpec((None, *values.shape[1:]), values.dtype), like)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=shapes).prefetch(2).with_options(options)


def spread(devices: int) -> None:
    """Let so many devices share every batch, each with a copy of the network and of the images; 0: all there are.

    The loss and the gradients are those of the whole batch, batch normalisation included. Keras does this with JAX
    only, as of 3.15. Raises StudyError under another backend, if there are fewer devices, or if their number does not
    divide SMALLEST_BATCH.
    """
    if devices == 1:
        return
    if keras.config.backend() != "jax":
        raise StudyError(f"devices is {devices}: sharing batches among devices needs KERAS_BACKEND=jax.")
    known = keras.distribution.list_devices()
    if devices > len(known):
        raise StudyError(f"devices is {devices}, and there {'is' if len(known) == 1 else 'are'} {len(known)}.")
    shared_by = known[: devices or len(known)]
    if SMALLEST_BATCH % len(shared_by):
        raise StudyError(f"{len(shared_by)} devices cannot share batches of {SMALLEST_BATCH} evenly: choose 2, 4 or 8.")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=shared_by, auto_shard_dataset=False))


def place(pixels: np.ndarray) -> keras.Variable | None:
    """The images uint8 [N, side, side, 3] as a variable on the device, or None where they do not fit.

    One array at a time is kept there. Images that take more than DEVICE_SHARE of its memory do not fit: they are
    fed from the host, batch by batch.
    """
    if on_device(pixels) is None and pixels.nbytes <= DEVICE_SHARE * device_memory():
        variable = keras.Variable(pixels, trainable=False, dtype="uint8", name="images")
        _placed["images"] = pixels, variable
    return on_device(pixels)


def on_device(pixels: np.ndarray) -> keras.Variable | None:
    """The variable that holds these very images on the device, if one does."""
    array, variable = _placed.get("images", (None, None))
    return variable if array is pixels else None


def device_memory() -> int:
    """Bytes of memory of the GPU that Keras uses, or of the machine if there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return int(listed.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def mixed(own, other, share, box):
    """Images uint8 [n, side, side, 3] mixed with others: `share` float32 [n] of each, inside its `box` nothing of it.

    box: int32 [n, 4]: first row, row after the last, first column, column after the last.
    """
    place = ops.arange(own.shape[1], dtype="int32")[None]
    top, bottom, left, right = (box[:, edge, None] for edge in range(4))
    rows, columns = (place >= top) & (place < bottom), (place >= left) & (place < right)
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    kept = ops.where(inside, 0.0, share[:, None, None, None])
    blend = kept * ops.cast(own, "float32") + (1 - kept) * ops.cast(other, "float32")
    return ops.cast(ops.round(blend), "uint8")


def _quick(layer: keras.Layer) -> keras.Layer:
    """A new layer like this one, or what computes the same faster."""
    kind = type(layer)
    if keras.config.backend() == "tensorflow" and kind is keras.layers.BatchNormalization:
        kind = FusedNormalization
    return kind.from_config(layer.get_config())


def _identity(images: keras.Variable | None) -> int | None:
    return None if images is None else id(images)


def _copy(source: keras.Model, target: keras.Model) -> None:
    """The values of all variables of one model, random states included, for another of its architecture."""
    for mine, yours in zip(source.variables, target.variables, strict=True):
        yours.assign(ops.copy(mine))  # JAX would share the memory, and a compiled step gives up what it was given


def _architecture(model: keras.Model) -> str:
    """What models must have in common to share a compiled network: their configuration less what are variables."""
    text = json.dumps(_bare(model.get_config()), sort_keys=True, default=str)
    return hashlib.sha256(f"{keras.config.backend()} {text}".encode()).hexdigest()


def _bare(value):
    if isinstance(value, dict):
        return {key: _bare(own) for key, own in value.items() if key not in VALUES}
    return [_bare(own) for own in value] if isinstance(value, list | tuple) else value
