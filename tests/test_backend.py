import os
import subprocess
import sys

import numpy as np

from helpers import backend
from helpers.study import ROOT


def test_outside_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(backend, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert backend.environment()["commit"] is None


def test_a_record_names_what_computes(monkeypatch):
    import keras
    import sklearn

    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    found = backend.environment()
    assert found["scikit-learn"] == sklearn.__version__ and found["numpy"] == np.__version__
    assert found["backend_version"] == sys.modules[keras.config.backend()].__version__
    if keras.config.backend() == "tensorflow":
        assert found["threads"] == 3
        backend.set_threads(1)  # what the user has set is kept
        assert backend.environment()["threads"] == 3


def test_there_are_as_many_threads_as_this_process_may_use(monkeypatch):
    """And not as many as the machine has cores."""
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(backend, "cpu_count", lambda: 5)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    backend.set_threads()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "5" and "CPU, 5 cores" in backend.device_name()


def test_what_trains_nothing_imports_no_backend():
    modules = "running.runner, running.report, data.lesions, data.split, evaluation.judge, plots"
    code = f"import sys, helpers.{modules.replace(', ', ', helpers.')}\n"
    code += "sys.exit(any(name in sys.modules for name in ('tensorflow', 'jax', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
