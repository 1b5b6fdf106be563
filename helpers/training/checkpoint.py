"""The saved state of a training run, so that a killed run can resume, and the record that a run has finished."""

import json
import sys
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from helpers.reading import read_note
from helpers.records import atomic_path, file_sha256, write_json

FILES = ("model.keras", "predictions.csv", "history.csv", "training.json")  # left by a finished training run

NOTHING = {"epochs": 0, "seconds": 0.0, "history": {}}  # the state of a stage that has not begun


class Checkpoint:
    """A file with the state of a training run of one or more stages.

    path: the .npz file, or None if the run is not saved; identity: identifies the run (network, recipes, images, code).
    A damaged file, or one from another run, is ignored. finished: for each finished stage its history and the
    `training` part of its record.
    """

    def __init__(self, path: Path | None = None, identity: str = ""):
        self.path, self.identity = path, identity
        self._saved = self._read() if path else None
        self.finished = list(self._saved["finished"]) if self._saved else []

    def restore(self, trainer: keras.Model, judge) -> dict:
        """Restore the saved state of the current stage; returns its epochs, seconds and history, or NOTHING.

        trainer: a compiled `Mixed` of the same architecture; judge: the run's `fit.Validation`.
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
        """Write the state of the current stage, atomically. arrays: lists by name; state: values that JSON can hold."""
        state |= {
            "identity": self.identity,
            "finished": self.finished,
            "counts": {k: len(v) for k, v in arrays.items()},
        }
        content = {f"{name} {number}": array for name, listed in arrays.items() for number, array in enumerate(listed)}
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **content)

    def remove(self) -> None:
        """Delete the file after training has ended."""
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
    """Saves the state of a training run after each epoch, and resumes from a saved state.

    Place it after `judge`, the run's `fit.Validation`. Place its `capture` before all other callbacks: it keeps the
    weights of the epoch before `averages`, which are Keras callbacks, replace them by averaged weights.
    history: of all epochs of the stage, by name; seconds: since its beginning.
    """

    def __init__(
        self, checkpoint: Checkpoint, trainer: keras.Model, *, judge: keras.callbacks.Callback, averages: list
    ):
        super().__init__()
        self.checkpoint, self.judge, self.averages = checkpoint, judge, averages
        state = checkpoint.restore(trainer, judge)
        self.resumed, self._seconds, self._started = state["epochs"], state["seconds"], time.perf_counter()
        self.history = {name: list(values) for name, values in state["history"].items()}
        self.capture = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self._keep(trainer))

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those of a killed process."""
        return self._seconds + time.perf_counter() - self._started

    def _keep(self, trainer: keras.Model) -> None:
        if self.checkpoint.path:
            convert = keras.ops.convert_to_numpy
            self._values = {name: [convert(v) for v in variables] for name, variables in _variables(trainer).items()}

    def on_train_begin(self, logs=None):
        # Swapping rounds the weights, so a resumed run has to swap as often as an uninterrupted one.
        for callback in self.averages if self.resumed else []:
            callback.on_epoch_end(self.resumed - 1)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.checkpoint.path:
            # After early stopping there are no epochs left to train.
            epochs = self.params["epochs"] if self.model.stop_training else epoch + 1
            best = {"best": self.judge.best, "best_epoch": self.judge.best_epoch}
            arrays = self._values | {"best": self.judge.weights}
            self.checkpoint.save(arrays, epochs=epochs, seconds=self.seconds, history=self.history, **best)


def mark_finished(folder: Path, fingerprint: str) -> None:
    """Record that the training run with this fingerprint has ended, and the checksums of its FILES in `folder`."""
    checksums = {name: file_sha256(folder / name) for name in FILES}
    write_json(folder / "finished.json", {"fingerprint": fingerprint, "files": checksums})


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether the training run with this fingerprint has ended and its files in `folder` are unchanged.

    Prints the name of a file that is missing or was changed.
    """
    finished = read_note(folder / "finished.json")
    if finished.get("fingerprint") != fingerprint:
        return False
    for name, checksum in finished["files"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != checksum:
            fault = f"{path} is missing or was changed after it was written"
            print(f"{fault}, so this model is trained again.", file=sys.stderr)
            return False
    return True


def _variables(trainer: keras.Model) -> dict[str, list]:
    return {"network": trainer.network.variables, "optimizer": trainer.optimizer.variables}
