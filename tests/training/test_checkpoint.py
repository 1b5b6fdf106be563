"""A training that is killed after any of its epochs goes on from there and ends with the same numbers."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import RECIPE, bright_or_dark, small_cnn

from helpers.backend import set_seed
from helpers.study import ROOT
from helpers.training.checkpoint import FILES, Checkpoint, is_finished, mark_finished
from helpers.training.fit import ProgressBar, fit_stages
from helpers.training.predict import predict

STAGES = [
    replace(RECIPE, epochs=2, trainable="head", batch_norm="frozen", shrink=2),
    replace(RECIPE, epochs=4, ema=0.9, imbalance="balanced_batches", mixing="mixup"),
]


class Kill(keras.callbacks.Callback):
    """Ends a training as its n-th epoch ends, after its state was saved."""

    def __init__(self, epochs: int):
        super().__init__()
        self.left = epochs

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


class KillItself(keras.callbacks.Callback):
    """Ends the process without warning after so many batches."""

    def __init__(self, batches: int):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def train(path, stages, *kills, also=()):
    """History and predictions of a training that is killed after so many epochs, and then so many more, and so on."""
    for epochs in (*kills, None):
        set_seed(3)
        model = small_cnn(dropout=0.5, augmentation=["symmetries", "brightness"])
        checkpoint = Checkpoint(path, "this training") if path else None
        parts = {"train": bright_or_dark(), "validation": bright_or_dark(seed=1)}
        callbacks = [
            ProgressBar("tiny", len(stages), len(checkpoint.finished) if checkpoint else 0),
            *([Kill(epochs)] if epochs else []),
            *also,
        ]
        try:
            fitted = fit_stages(model, parts, stages=stages, callbacks=callbacks, checkpoint=checkpoint)
        except KeyboardInterrupt:
            continue
        return fitted, predict(model, bright_or_dark(seed=2))


@pytest.fixture(scope="module")
def reference():
    return train(None, STAGES)


def check_that_both_are_the_same(found, expected):
    (fitted, predictions), (expected_fit, expected_predictions) = found, expected
    assert np.array_equal(predictions, expected_predictions)
    numbers = [name for name in expected_fit.history if name != "seconds"]
    assert np.array_equal(fitted.history[numbers], expected_fit.history[numbers])
    assert fitted.training["best_epoch"] == expected_fit.training["best_epoch"]


@pytest.mark.jax
def test_a_killed_training_ends_with_the_numbers_of_one_that_was_not(tmp_path, reference, capsys):
    said = {(1,): "tiny, stage 1: resumed at epoch 2 of 2", (3,): "tiny, stage 2: resumed at epoch 2 of 4"}
    for kills in ((1,), (3,), (6,), (1, 1, 1, 1)):
        check_that_both_are_the_same(train(tmp_path / f"{kills}.npz", STAGES, *kills), reference)
        assert said.get(kills, "") in capsys.readouterr().err
    one = train(tmp_path / "one.npz", STAGES[1:], random.randint(1, 3))
    check_that_both_are_the_same(one, train(None, STAGES[1:]))


KILLED = """
import sys
sys.path[:0] = ["tests", "tests/training"]
from pathlib import Path
from test_checkpoint import STAGES, KillItself, train
train(Path(sys.argv[1]), STAGES, also=[KillItself(int(sys.argv[2]))])
"""


def test_a_training_killed_without_warning_goes_on_in_another_process(tmp_path, reference):
    """Killed in any of its 48 batches."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "state.npz"), str(random.randint(1, 48))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, f"{command}: {done.stderr}"
    check_that_both_are_the_same(train(tmp_path / "state.npz", STAGES), reference)


def test_a_training_whose_patience_ended_is_not_trained_further(tmp_path):
    stages = [replace(RECIPE, epochs=9, patience=2, learning_rate=1e-6)]
    expected, _ = train(None, stages)
    fitted, _ = train(tmp_path / "state.npz", stages, len(expected.history))
    assert len(fitted.history) == len(expected.history) < 9


@pytest.mark.parametrize("damage", ["cut", "zeroed", "of another training"])
def test_a_damaged_or_foreign_checkpoint_counts_for_nothing(damage, tmp_path, reference):
    path = tmp_path / "state.npz"
    assert train(path, STAGES[:1])[0] is not None and path.is_file()
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    if damage == "zeroed":
        path.write_bytes(content[:2000] + bytes(200) + content[2200:])
    checkpoint = Checkpoint(path, "another" if damage.startswith("of") else "this training")
    assert checkpoint.finished == [] and checkpoint._saved is None


def test_what_a_finished_training_left_is_noticed_when_it_changes(tmp_path, capsys):
    assert not is_finished(tmp_path, "this")
    for name in FILES:
        (tmp_path / name).write_text(name)
    mark_finished(tmp_path, "this")
    assert is_finished(tmp_path, "this") and not is_finished(tmp_path, "another")
    for name in FILES:
        (tmp_path / name).write_text("changed")
        assert not is_finished(tmp_path, "this") and str(tmp_path / name) in capsys.readouterr().err
        (tmp_path / name).unlink()
        assert not is_finished(tmp_path, "this") and str(tmp_path / name) in capsys.readouterr().err
        (tmp_path / name).write_text(name)
    (tmp_path / "finished.json").write_text("{")
    assert not is_finished(tmp_path, "this")
