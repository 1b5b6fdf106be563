import subprocess
import sys

import numpy as np

from helpers import backend
from helpers.study import ROOT


def test_outside_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert backend.environment()["commit"] is None


def test_two_seeded_draws_agree():
    import keras

    draws = []
    for _ in range(2):
        backend.set_seed(3)
        draws.append((np.random.rand(), float(keras.random.normal(()))))
    assert draws[0] == draws[1]


def test_what_trains_nothing_imports_no_backend():
    modules = "running.runner, running.report, data.lesions, data.split, evaluation.judge, plots"
    code = f"import sys, helpers.{modules.replace(', ', ', helpers.')}\n"
    code += "sys.exit(any(name in sys.modules for name in ('tensorflow', 'jax', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
