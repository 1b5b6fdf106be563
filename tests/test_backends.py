"""The study under another backend than TensorFlow, by the commands that its users type."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from helpers.study import ROOT

SMALL = {"side": 32, "resamples": 50, "epochs": 1, "dedicated": False}
OPTIONS = {"02_preprocessing": ("side",), "03_cnn_baseline": tuple(SMALL)}


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_the_study_runs_under_jax(tmp_path):
    """From the pictures to the record of the CNN, which is trained for one epoch on small ones."""
    folders = {"RESULTS_DIR": str(tmp_path / "results"), "BUILD_DIR": str(tmp_path / "build")}
    environment = os.environ | folders | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    for notebook, names in OPTIONS.items():
        given = [word for name in names for word in ("-p", name, str(SMALL[name]))]
        command = [sys.executable, "-m", "helpers.runner", notebook, "--study", "demo", *given]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        record = tmp_path / "results" / "demo" / notebook / "metrics.json"
        if notebook != "02_preprocessing":
            entry = json.loads(record.read_text())
            assert entry["environment"]["backend"] == "jax" and entry["training"]["images"] == "device"
