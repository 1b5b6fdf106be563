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
from helpers.running import model_card, report, verification
from helpers.running.model_card import write_card
from helpers.running.verification import verify
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


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Results with two models of which the second is better, a variant without a model file, and subgroups."""
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    for name, value, notebook in (("CNN", 0.5, "03_cnn_baseline"), ("MobileNet", 0.7, "05_mobilenet")):
        folder = tmp_path / "made_up" / notebook
        folder.mkdir(parents=True)
        save_model(small_cnn(classes=7, filters=[4]), folder / "model.keras")
        entry = record(name, value, notebook, {"floor": record("floor", 0.1, notebook)})
        write_json(folder / "metrics.json", entry | {"model_sha256": file_sha256(folder / "model.keras")})
    groups = pd.DataFrame(
        {
            "group": ["sex female (n = 9)", "sex male (n = 2)"],
            "lesions": [9, 2],
            "malignant_images": [4, 0],
            "malignant_auc": [0.8, np.nan],
            "malignant_auc_low": [0.7, np.nan],
            "malignant_auc_high": [0.9, np.nan],
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
    assert model(np.zeros((2, 16, 16, 3), np.uint8)).shape == (2, 7)


def test_the_model_of_readme_is_published(monkeypatch):
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    (named,) = re.findall(r'load_model\("(.+)", study="(.+)"\)', (ROOT / "README.md").read_text())
    model, entry = load_model(*named)
    side = entry["parameters"]["side"]
    answers = model.predict(np.zeros((1, side, side, 3), np.uint8), verbose=0)
    assert answers.shape == (1, len(entry["per_class"])) and np.allclose(answers.sum(axis=1), 1)


def test_a_model_that_is_not_compared_is_not_published(study):
    file, path = study / "03_cnn_baseline" / "model.keras", study / "08_leakage"
    path.mkdir()
    shutil.copy(file, path)
    write_json(path / "metrics.json", record("leaking", 0.9, "08_leakage") | {"compared": False})
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


def test_an_unknown_model(study):
    with pytest.raises(StudyError, match="no model 'ResNet'. There are MobileNet, CNN"):
        load_model("ResNet", "made_up")
    with pytest.raises(StudyError, match=r"There are MobileNet\.$"):
        load_model("CNN", "made_up", "05_mobilenet")


def test_another_file_is_not_loaded(study):
    shutil.copy(study / "05_mobilenet" / "model.keras", study / "03_cnn_baseline" / "model.keras")
    with pytest.raises(StudyError, match="is not the .* of its metrics.json"):
        load_model("CNN", "made_up")


def test_the_card_names_models_figures_and_groups(study, capsys):
    assert report.main(["card", "--study", "made_up"]) == 0 and "MODEL_CARD.md" in capsys.readouterr().out
    text = write_card("made_up").read_text()
    sha = file_sha256(study / "05_mobilenet" / "model.keras")
    for wanted in (sha, "0.700 [0.650, 0.750]", "| mel | 10 | 0.50 [0.45, 0.55]", "not a medical device", "2,000 test"):
        assert wanted in text
    assert "| sex female (n = 9) | 9 | 4 | 0.800 [0.700, 0.900] |" in text and "too few" in text
    assert "floor" not in text and 'load_model("MobileNet", study="made_up")' in text
    assert "missing" not in text
    for path in study.glob("*/metrics.json"):
        write_json(path, json.loads(path.read_text()) | {"missing_images": 1234})
    assert "1,234 images that the publisher lists were missing" in write_card("made_up").read_text()


def test_no_card_without_models(study, capsys):
    for file in study.glob("*/model.keras"):
        file.unlink()
    assert report.main(["card", "--study", "made_up"]) == 1 and "no model.keras" in capsys.readouterr().err


def rerun(study, change):
    """A copy of the study as a fresh run, with its second record changed."""
    fresh = study.parent / "fresh"
    shutil.copytree(study, fresh)
    entry = json.loads((fresh / "05_mobilenet" / "metrics.json").read_text())
    change(entry)
    write_json(fresh / "05_mobilenet" / "metrics.json", entry)
    return fresh


def test_the_same_figures_are_reproduced(study, capsys):
    fresh = rerun(study, lambda entry: entry["test"]["accuracy"].update(value=0.749))
    table = verify(study, fresh)
    assert table["reproduced"].all() and len(table) == 4 * len(FIGURES)
    assert report.main(["verify", "--study", "made_up", str(fresh)]) == 0
    assert f"{4 * len(FIGURES)} of {4 * len(FIGURES)} figures lie inside" in capsys.readouterr().out


def test_a_figure_outside_of_its_interval_is_named(study, capsys):
    fresh = rerun(study, lambda entry: entry["test"]["accuracy"].update(value=0.751))
    assert report.main(["verify", "--study", "made_up", str(fresh)]) == 1
    told = capsys.readouterr().out
    assert "accuracy: published 0.700 [0.650, 0.750], now 0.751" in told
    assert f"MobileNet (05_mobilenet): {len(FIGURES) - 1} of {len(FIGURES)} figures reproduced" in told


def test_an_variant_that_is_missing_is_not_reproduced(study):
    table = verify(study, rerun(study, lambda entry: entry["variants"].clear()))
    assert table.groupby("place")["reproduced"].all().to_dict() == {
        "03_cnn_baseline": True,
        "03_cnn_baseline/variants/floor": True,
        "05_mobilenet": True,
        "05_mobilenet/variants/floor": False,
    }


def test_where_no_figure_is_there_dashes_are_shown(study, capsys):
    fresh = study.parent / "fresh"
    shutil.copytree(study, fresh)
    for path in fresh.glob("0*/metrics.json"):
        write_json(path, json.loads(path.read_text()) | {"test": {}, "variants": {}})
    assert report.main(["verify", "--study", "made_up", str(fresh)]) == 1
    assert "accuracy: published 0.700 [0.650, 0.750], now –" in capsys.readouterr().out


def test_another_split_is_no_reproduction(study):
    fresh = study.parent / "fresh"
    shutil.copytree(study, fresh)
    for path in fresh.glob("*/metrics.json"):
        path.write_text(path.read_text().replace("5711", "5712"))
    with pytest.raises(StudyError, match="another split"):
        verify(study, fresh)


@pytest.mark.parametrize(
    ("value", "low", "high", "fresh", "expected"),
    [(0.5, 0.4, 0.6, 0.45, True), (0.5, 0.4, 0.6, 0.7, False), (0.5, 0.4, 0.6, None, False)]
    + [(0.5, None, None, 0.5, True), (0.5, None, None, 0.4, False), (None, None, None, None, True)]
    + [(None, None, None, 0.5, False)],
)
def test_a_figure_is_reproduced_inside_its_interval(value, low, high, fresh, expected):
    table = pd.DataFrame([{"value": value, "low": low, "high": high, "fresh": fresh}] * 2).astype(float)
    assert [verification._reproduced(row) for row in table.itertuples()] == [expected] * 2
