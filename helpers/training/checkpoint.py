"""How far a training has come: after each epoch, so that one that was killed goes on, and at its end."""

import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from helpers.records import atomic_path, file_sha256, write_json

FILES = ("model.keras", "predictions.csv", "history.csv", "training.json")  # that a finished training leaves

NOTHING = {"epochs": 0, "seconds": 0.0, "history": {}}  # of a stage that has not begun


class Checkpoint:
    """The file that holds how far a training of one or more stages has come.

    path: of the file, an .npz, or None for a training that is not saved; identity: says which training it is (network,
    recipes, images, code). A file of another training, or one that is damaged, counts for nothing. finished: for each
    finished stage its history and the `training` part of its record.
    """

    def __init__(self, path: Path | None = None, identity: str = ""):
        self.path, self.identity = path, identity
        self._saved = self._read() if path else None
        self.finished = list(self._saved["finished"]) if self._saved else []

    def restore(self, trainer: keras.Model, judge) -> dict:
        """Put back the saved state of the present stage; returns its epochs, seconds and history, see NOTHING.

        trainer: a compiled `Reader` of the same architecture; judge: the training's `fit.Validation`.
        """
        saved = self._saved
        if not saved or len(saved["finished"]) != len(self.finished):
            return NOTHING
        for name, variables in _variables(trainer).items():
            for variable, value in zip(variables, saved["arrays"][name], strict=True):
                variable.assign(value)
        judge.weights = saved["arrays"]["best"]
        judge.best, judge.best_epoch = saved["best"], saved["best_epoch"]
        return {name: saved[name] for name in NOTHING}

    def save(self, arrays: dict[str, list[np.ndarray]], **state) -> None:
        """Write the state of the present stage, atomically: lists of arrays by name, and what JSON can hold."""
        state |= {
            "identity": self.identity,
            "finished": self.finished,
            "counts": {k: len(v) for k, v in arrays.items()},
        }
        content = {f"{name} {number}": array for name, listed in arrays.items() for number, array in enumerate(listed)}
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **content)

    def remove(self) -> None:
        """Delete the file: the training has ended."""
        if self.path:
            self.path.unlink(missing_ok=True)

    def _read(self) -> dict | None:
        try:
            with np.load(self.path) as file:
                state = json.loads(str(file["state"]))
                arrays = {name: [file[f"{name} {n}"] for n in range(count)] for name, count in state["counts"].items()}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return state | {"arrays": arrays} if state["identity"] == self.identity else None


class SaveEpochs(keras.callbacks.Callback):
    """Saves the state of a training after each epoch, and begins with the state that is saved.

    Goes after `judge`, the training's `fit.Validation`. Its `capture` goes before all others: it keeps the values of
    the epoch before `averages`, callbacks of Keras, put averaged weights in their place.
    history: of all epochs of the stage, by name; seconds: since its beginning.
    """

    def __init__(self, checkpoint: Checkpoint, trainer: keras.Model, judge: keras.callbacks.Callback, averages: list):
        super().__init__()
        self.checkpoint, self.judge, self.averages = checkpoint, judge, averages
        state = checkpoint.restore(trainer, judge)
        self.resumed, self._seconds, self._started = state["epochs"], state["seconds"], time.perf_counter()
        self.history = {name: list(values) for name, values in state["history"].items()}
        self.capture = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self._keep(trainer))

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those of a killed process included."""
        return self._seconds + time.perf_counter() - self._started

    def _keep(self, trainer: keras.Model) -> None:
        if self.checkpoint.path:
            convert = keras.ops.convert_to_numpy
            self._values = {name: [convert(v) for v in variables] for name, variables in _variables(trainer).items()}

    def on_train_begin(self, logs=None):
        # Swapping rounds the weights, so a training that goes on has to swap as often as one that was not killed.
        for callback in self.averages if self.resumed else []:
            callback.on_epoch_end(self.resumed - 1)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.checkpoint.path:
            # One that ended early has no further epoch.
            epochs = self.params["epochs"] if self.model.stop_training else epoch + 1
            best = {"best": self.judge.best, "best_epoch": self.judge.best_epoch}
            arrays = self._values | {"best": self.judge.weights}
            self.checkpoint.save(arrays, epochs=epochs, seconds=self.seconds, history=self.history, **best)


def mark_finished(folder: Path, fingerprint: str) -> None:
    """Record that the training with this fingerprint has ended and left FILES in `folder`, with their checksums."""
    checksums = {name: file_sha256(folder / name) for name in FILES}
    write_json(folder / "finished.json", {"fingerprint": fingerprint, "files": checksums})


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether the training with this fingerprint has ended, and all that it left in `folder` is unchanged.

    A file that is missing or was changed is named, and what it belongs to counts as not trained.
    """
    try:
        finished = json.loads((folder / "finished.json").read_text())
        checksums = finished["files"] if finished["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return False
    for name, checksum in (checksums or {}).items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != checksum:
            print(f"{path} is missing or was changed after it was written, so this model is trained again.")
            return False
    return checksums is not None


def _variables(trainer: keras.Model) -> dict[str, list]:
    return {"network": trainer.network.variables, "optimizer": trainer.optimizer.variables}
