"""Published models, their card, and the check of a fresh run, on a made-up study of one tiny network."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny import small_cnn

from helpers.data.lesions import HAM10000
from helpers.data.samples import Samples
from helpers.models.published import load_model, published_models
from helpers.records import file_sha256, write_json
from helpers.running import model_card, report
from helpers.running.model_card import write_card
from helpers.running.verification import compare_runs, is_reproduced
from helpers.study import ROOT, StudyError
from helpers.training.fit import save_model
from helpers.training.predict import predict

CODES = [one.code for one in HAM10000]
FIGURES = ("accuracy", *[name for name in model_card.SHOWN if name != "accuracy"])


def figure(value, spread=0.05):
    return {"value": value, "low": value - spread, "high": value + spread}


def record(name, value, notebook, variants=None):
    return {
        "name": name,
        "notebook": notebook,
        "task": "diagnosis",
        "split": {"sha256": "5711", "train": 7000, "validation": 1000, "test": 2000},
        "parameters": {"dataset": "ham10000", "side": 16},
        "training": {"weights": 1234},
        "threshold": 0.25,
        "temperature": 1.5,
        "validation": {"balanced_accuracy": figure(value)},
        "test": {name: figure(value) for name in FIGURES},
        "per_class": {code: {"recall": figure(0.5), "images": 10} for code in CODES},
        "variants": variants or {},
    }


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The file of a network, saved once."""
    path = tmp_path_factory.mktemp("network") / "model.keras"
    save_model(small_cnn(classes=7, filters=[4]), path)
    return path


@pytest.fixture
def study(tmp_path, monkeypatch, network):
    """Results with two models of which the second is better, a variant without a model file, and subgroups."""
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    for name, value, notebook in (("CNN", 0.5, "03_cnn_baseline"), ("MobileNet", 0.7, "05_mobilenet")):
        folder = tmp_path / "made_up" / notebook
        folder.mkdir(parents=True)
        shutil.copy(network, folder)
        entry = record(name, value, notebook, {"colour": record("colour", 0.1, notebook)})
        write_json(folder / "metrics.json", entry | {"model_sha256": file_sha256(folder / "model.keras")})
    groups = pd.DataFrame(
        {
            "group": ["sex female (n = 9)", "sex male (n = 2)"],
            "lesions": [9, 2],
            "malignant_images": [4, 0],
            "malignant_auc": [0.8, np.nan],
            "malignant_auc_low": [0.7, np.nan],
            "malignant_auc_high": [0.9, np.nan],
            "malignant_sensitivity": [0.6, np.nan],
            "malignant_sensitivity_low": [0.5, np.nan],
            "malignant_sensitivity_high": [0.7, np.nan],
        }
    )
    (tmp_path / "made_up" / "07_model_comparison").mkdir()
    groups.to_csv(tmp_path / "made_up" / "07_model_comparison" / "groups.csv", index=False)
    return tmp_path / "made_up"


def test_a_model_is_loaded_by_its_name(study):
    assert list(published_models("made_up")) == ["MobileNet", "CNN"]
    model, entry = load_model("CNN", "made_up")
    assert entry["temperature"] == 1.5 and entry["folder"] == study / "03_cnn_baseline"
    answers = model.predict(np.zeros((2, 16, 16, 3), np.uint8), verbose=0)
    assert answers.shape == (2, 7) and np.allclose(answers.sum(axis=1), 1)


def test_the_model_of_the_docs_is_published(monkeypatch):
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    (named,) = re.findall(r'load_model\("(.+)", study="(.+)"\)', (ROOT / "docs" / "running.md").read_text())
    assert named[0] in published_models(named[1])  # whose files are loaded in tests/models


def test_a_model_that_is_not_compared_is_not_published(study):
    shutil.copytree(study / "03_cnn_baseline", study / "08_leakage")
    write_json(study / "08_leakage" / "metrics.json", record("leaking", 0.9, "08_leakage") | {"compared": False})
    assert list(published_models("made_up")) == ["MobileNet", "CNN"]
    assert "leaking" not in write_card("made_up").read_text()


def test_several_views_are_read_by_the_model_of_their_notebook(study):
    entry = json.loads((study / "05_mobilenet" / "metrics.json").read_text())
    views = record("MobileNet, 8 views", 0.8, "05_mobilenet") | {"views": 8, "model_sha256": entry["model_sha256"]}
    write_json(study / "05_mobilenet" / "metrics.json", entry | {"variants": {"views": views}})
    assert list(published_models("made_up")) == ["MobileNet, 8 views", "MobileNet", "CNN"]
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    model, found = load_model("MobileNet, 8 views", "made_up")
    single, _ = load_model("MobileNet", "made_up")
    wanted = predict(single, Samples(images, np.arange(3), np.zeros(3, int)), 8)
    assert found["views"] == 8 and np.allclose(model.predict(images, verbose=0), wanted, atol=1e-6)
    assert not np.allclose(single.predict(images, verbose=0), wanted, atol=1e-6)
    assert "| [MobileNet, 8 views](notebooks/05_mobilenet.ipynb) |" in write_card("made_up").read_text()


def test_an_unknown_model_or_another_file_is_not_loaded(study):
    with pytest.raises(StudyError, match="no model 'ResNet'. Available models: MobileNet, CNN"):
        load_model("ResNet", "made_up")
    with pytest.raises(StudyError, match=r"Available models: MobileNet\.$"):
        load_model("CNN", "made_up", "05_mobilenet")
    (study / "03_cnn_baseline" / "model.keras").write_bytes(b"another network")
    with pytest.raises(StudyError, match="is not the .* of its metrics.json"):
        load_model("CNN", "made_up")


def test_the_card_names_models_figures_and_groups(study, capsys):
    assert report.main(["card", "--study", "made_up"]) == 0 and "MODEL_CARD.md" in capsys.readouterr().out
    text = write_card("made_up").read_text()
    sha = file_sha256(study / "05_mobilenet" / "model.keras")
    for wanted in (sha, "0.700 [0.650, 0.750]", "| mel | 10 | 0.50 [0.45, 0.55]", "not a medical device", "2,000 test"):
        assert wanted in text
    assert "| sex female (n = 9) | 9 | 4 | 0.800 [0.700, 0.900] | 0.600 [0.500, 0.700] |" in text and "too few" in text
    assert "colour" not in text and 'load_model("MobileNet", study="made_up")' in text
    assert "missing" not in text
    for path in study.glob("*/metrics.json"):
        write_json(path, json.loads(path.read_text()) | {"missing_images": 1234})
    assert "1,234 images that the publisher lists were missing" in write_card("made_up").read_text()


def test_the_card_says_how_far_stated_probabilities_can_be_trusted(study, monkeypatch):
    assert "right was not measured" in write_card("made_up").read_text()
    excess = {"value": -0.1, "low": -0.2, "high": -0.05}, {"value": 0.0, "low": -0.1, "high": 0.1}, 2000
    monkeypatch.setattr(model_card, "calibration_excess", lambda study: excess)
    text = write_card("made_up").read_text()
    assert "alone the model understates the share" in text
    assert "does not clearly overstate or understate the share of malignant images (0.000 [-0.100, 0.100]" in text


def test_the_card_names_collections_that_the_study_had_no_image_of(study):
    for path in study.glob("*/metrics.json"):
        write_json(path, json.loads(path.read_text()) | {"missing_images": 1234})
    summary = {"dataset": "isic2019", "images_by_source": {"HAM10000": 5, "MSK": 2}}
    write_json(study / "01_eda" / "dataset.json", summary)
    assert "were missing, all of BCN_20000 among them.**" in write_card("made_up").read_text()
    write_json(
        study / "01_eda" / "dataset.json", summary | {"images_by_source": {"BCN_20000": 1, "HAM10000": 5, "MSK": 2}}
    )
    assert "were missing.**" in write_card("made_up").read_text()


def test_the_card_shows_how_exported_files_agree(study):
    assert "Not exported: `make export STUDY=made_up`" in write_card("made_up").read_text()
    row = {"agreement": 0.956, "largest_difference": 0.41, "milliseconds": 1.33, "megabytes": 2.1, "device": "CPU"}
    row |= {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.7}
    row |= {"difference": -0.01, "difference_low": -0.02, "difference_high": 0.001}
    rows = [row | {"runtime": "Keras", "file": "model.keras"}, row | {"runtime": "LiteRT", "file": "model.tflite"}]
    (study / "export").mkdir()
    pd.DataFrame(rows).to_csv(study / "export" / "parity.csv", index=False)
    shown = "| LiteRT | model.tflite, 2.1 MB | 95.6 % | 0.4 | 0.600 [0.500, 0.700] | "
    assert shown + "-0.010 [-0.020, 0.001] | 1.3 |" in write_card("made_up").read_text()


def test_no_card_without_models(study, capsys):
    for file in study.glob("*/model.keras"):
        file.unlink()
    assert report.main(["card", "--study", "made_up"]) == 1 and "no model.keras" in capsys.readouterr().err


def verify(study, capsys, **changes):
    """The exit code and output of the check of a fresh run whose second record has these changes."""
    fresh = shutil.copytree(study, study.parent / "fresh")
    entry = json.loads((fresh / "05_mobilenet" / "metrics.json").read_text())
    write_json(fresh / "05_mobilenet" / "metrics.json", entry | changes)
    return report.main(["verify", "--study", "made_up", str(fresh)]), capsys.readouterr()


def test_a_fresh_run_is_compared_figure_by_figure(study, capsys):
    count = len(FIGURES)
    figures = {name: figure(0.7) for name in FIGURES} | {"accuracy": figure(0.751)}
    code, printed = verify(study, capsys, test=figures)
    assert code == 1 and "accuracy: published 0.700 [0.650, 0.750], now 0.751" in printed.out
    assert f"MobileNet (05_mobilenet): {count - 1} of {count} figures reproduced" in printed.out
    shutil.rmtree(study.parent / "fresh")
    code, printed = verify(study, capsys, test=figures | {"accuracy": figure(0.749)})
    assert code == 0 and f"{4 * count} of {4 * count} figures lie inside" in printed.out


def test_missing_variants_and_figures_are_not_reproduced(study, capsys):
    code, printed = verify(study, capsys, test={}, variants={})
    assert code == 1 and "accuracy: published 0.700 [0.650, 0.750], now –" in printed.out
    count = len(FIGURES)
    assert f"colour (05_mobilenet/variants/colour): 0 of {count} figures reproduced" in printed.out
    assert f"colour (03_cnn_baseline/variants/colour): {count} of {count} figures reproduced" in printed.out


def test_another_split_is_no_reproduction(study):
    fresh = shutil.copytree(study, study.parent / "fresh")
    for path in fresh.glob("*/metrics.json"):
        path.write_text(path.read_text().replace("5711", "5712"))
    with pytest.raises(StudyError, match="another split"):
        compare_runs(study, fresh)


NAN = float("nan")


@pytest.mark.parametrize(
    ("published", "fresh", "expected"),
    [((0.5, 0.4, 0.6), 0.45, True), ((0.5, 0.4, 0.6), 0.7, False), ((0.5, 0.4, 0.6), NAN, False)]
    + [((0.5, NAN, NAN), 0.5, True), ((0.5, NAN, NAN), 0.4, False)]
    + [((NAN, NAN, NAN), NAN, True), ((NAN, NAN, NAN), 0.5, False)],
)
def test_a_figure_is_reproduced_inside_its_interval(published, fresh, expected):
    assert is_reproduced(*published, fresh=fresh) is expected
