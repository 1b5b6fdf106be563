"""The study under another backend than TensorFlow, by the command that its users type."""

import json
import os

SMALL = {"side": 32, "resamples": 50, "epochs": 1, "dedicated": False, "precision": "mixed_bfloat16"}
OPTIONS = {"02_preprocessing": ("side",), "03_cnn_baseline": tuple(SMALL)}
WITHOUT_TENSORFLOW = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def test_the_study_runs_under_jax_without_tensorflow(tmp_path, under_jax):
    """From the pictures to the record of the CNN, which is trained for one epoch on small ones, as GPUs do it."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TENSORFLOW)
    folders = {"RESULTS_DIR": str(tmp_path / "results"), "BUILD_DIR": str(tmp_path / "build")}
    folders["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    for notebook, names in OPTIONS.items():
        given = [word for name in names for word in ("-p", name, str(SMALL[name]))]
        under_jax("-m", "helpers.running.runner", notebook, "--study", "demo", *given, **folders)
    entry = json.loads((tmp_path / "results" / "demo" / "03_cnn_baseline" / "metrics.json").read_text())
    assert entry["environment"]["backend"] == "jax" and entry["training"]["images"] == "device"
