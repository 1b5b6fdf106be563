"""The study under another backend than TensorFlow, by the command that its users type."""

import json

SMALL = {"side": 32, "resamples": 50, "epochs": 1, "dedicated": False}
OPTIONS = {"02_preprocessing": ("side",), "03_cnn_baseline": tuple(SMALL)}


def test_the_study_runs_under_jax(tmp_path, under_jax):
    """From the pictures to the record of the CNN, which is trained for one epoch on small ones."""
    folders = {"RESULTS_DIR": str(tmp_path / "results"), "BUILD_DIR": str(tmp_path / "build")}
    for notebook, names in OPTIONS.items():
        given = [word for name in names for word in ("-p", name, str(SMALL[name]))]
        under_jax("-m", "helpers.runner", notebook, "--study", "demo", *given, **folders)
    entry = json.loads((tmp_path / "results" / "demo" / "03_cnn_baseline" / "metrics.json").read_text())
    assert entry["environment"]["backend"] == "jax" and entry["training"]["images"] == "device"
