"""The study under another backend than TensorFlow, by the command that its users type."""

import json
import os
import re

from helpers.study import ROOT

SMALL = {"resamples": 50, "epochs": 1, "filters": [4, 8], "dedicated": False, "precision": "mixed_bfloat16"}
WITHOUT_TENSORFLOW = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def test_the_study_runs_under_jax_without_tensorflow(tmp_path, under_jax):
    """From the pictures to the record of a trial of the CNN: one epoch in bfloat16, as GPUs train it."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TENSORFLOW)
    folders = {"RESULTS_DIR": str(tmp_path / "results"), "BUILD_DIR": str(tmp_path / "build")}
    folders["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    under_jax("-m", "helpers.running.runner", "02_preprocessing", "--study", "demo", **folders)
    given = [word for name, value in SMALL.items() for word in ("-p", name, str(value))]
    under_jax(
        "-m", "helpers.running.runner", "03_cnn_baseline", "--study", "demo", "--name", "small", *given, **folders
    )
    trial = tmp_path / "results" / "demo" / "trials" / "03_cnn_baseline" / "small"
    entry = json.loads((trial / "metrics.json").read_text())
    assert entry["environment"]["backend"] == "jax" and entry["training"]["epochs"] == 1


def test_what_is_marked_passes_under_jax_too(under_jax):
    """All of it, in one process: none is skipped or goes missing. A marked test is not parametrised."""
    marked = {path: path.read_text().count("\n@pytest.mark.jax\n") for path in sorted(ROOT.glob("tests/*/test_*.py"))}
    files = [str(path) for path, tests in marked.items() if tests]
    output = under_jax("-m", "pytest", "-q", "-m", "jax", "-p", "no:cacheprovider", *files)
    assert re.search(rf"^{sum(marked.values())} passed\b(?!.*skipped)", output, re.MULTILINE), output
