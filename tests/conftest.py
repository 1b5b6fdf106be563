"""Tiny made-up data in the publishers' layouts, and the real images where HAM10000_DIR names them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from PIL import Image

from helpers.study import ROOT

ROWS = [
    ("HAM_0000001", "ISIC_0000001", "nv", "follow_up", 45.0, "male", "back"),
    ("HAM_0000001", "ISIC_0000002", "nv", "follow_up", 45.0, "male", "back"),
    ("HAM_0000002", "ISIC_0000003", "mel", "histo", 70.0, "female", "face"),
    ("HAM_0000003", "ISIC_0000004", "df", "consensus", None, "unknown", "unknown"),
]
COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]

# As in the demo: the networks are tiny, and several processes test side by side. Set before anything is computed.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# Notebooks run beside the tests, so how long an example takes says nothing about the code.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


SLOW_ROOMS = ("training", "explanation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what trains networks or starts other backends, so that `make test-fast` leaves it out."""
    for item in items:
        if item.path.parent.name in SLOW_ROOMS or "under_jax" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs programs, packages or files which are not there; fail it where CLINIC_TOOLS is `all`."""
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    if missing := [name for name in needed if not (shutil.which(name) or find_spec(name) or (ROOT / name).exists())]:
        end = pytest.fail if os.environ.get("CLINIC_TOOLS") == "all" else pytest.skip
        end(f"not installed: {', '.join(missing)}")


def picture(seed: int, side: int = 40) -> Image.Image:
    """A blurred random picture, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def under_jax() -> Callable[..., str]:
    """A function that runs Python under JAX, on the processor, with the words of a command line and an environment.

    It returns what was printed and fails if the command fails. Without JAX the test is skipped.
    """
    pytest.importorskip("jax", reason="JAX is not installed")

    def run(*words: str, **environment: str) -> str:
        # Tests run each compiled step a few times: it pays to compile it quickly, not well.
        flags = f"--xla_backend_optimization_level=0 {environment.pop('XLA_FLAGS', '')}"
        variables = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags} | environment
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def ham10000(tmp_path: Path) -> Path:
    """A folder in HAM10000's layout: four small images of three lesions, in two folders in turn."""
    folder = tmp_path / "ham10000"
    for number, row in enumerate(ROWS):
        path = folder / f"HAM10000_images_part_{1 + number % 2}" / f"{row[1]}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path, quality=95)
    pd.DataFrame(ROWS, columns=COLUMNS).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def real_ham10000() -> Path:
    """Folder of the real images; tests that ask for it are skipped where there are none."""
    folder = os.environ.get("HAM10000_DIR")
    if not folder:
        pytest.skip("HAM10000_DIR does not name the folder of the real images")
    return Path(folder)
