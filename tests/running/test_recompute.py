"""Published figures computed again: none differs, and each that is changed is named."""

import json
import shutil

import pandas as pd
import pytest

from helpers.data.lesions import HAM10000
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.external import FIGURES, collection, external_collection, external_table
from helpers.evaluation.predictions import Predictions
from helpers.records import read_records, write_csv
from helpers.running import recompute
from helpers.running.elsewhere import EXTERNAL, elsewhere_table
from helpers.running.recompute import (
    GROUPS,
    differences,
    external_figures,
    group_figures,
    published_figures,
    record_figures,
    stale_tables,
)
from helpers.study import ROOT

PUBLISHED = ROOT / "results" / "ham10000_cpu"
NOTEBOOK = "03_cnn_baseline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of one notebook of a published study."""
    copy = tmp_path_factory.mktemp("results") / "ham10000_cpu"
    for name in ("split.csv", f"{NOTEBOOK}/metrics.json", f"{NOTEBOOK}/predictions.csv"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PUBLISHED / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def lesions(folder):
    return pd.read_csv(folder / "split.csv", dtype=str).set_index("image_id")["lesion_id"]


def record(folder, **changes):
    path = folder / NOTEBOOK / "metrics.json"
    return json.loads(path.read_text()) | {"folder": path.parent} | changes


def test_a_published_record_is_what_its_predictions_give(folder, lesions):
    assert differences(record_figures(record(folder), lesions)) == []


def test_each_figure_that_was_changed_is_named(folder, lesions):
    changed = record(folder)
    changed["test"]["accuracy"]["value"] += 0.001
    changed["per_class"]["mel"]["images"] += 1
    changed["threshold"] *= 1.01
    found = differences(record_figures(changed, lesions))
    assert [one.split(": ")[1].split(" is ")[0] for one in found[1:]] == ["test.accuracy.value", "per_class.mel.images"]
    assert found[0].split(": ")[1].startswith("threshold is") and len(found) == 3
    assert all(str(folder / NOTEBOOK / "metrics.json") in one for one in found)


def test_other_predictions_give_other_figures(folder, lesions, tmp_path):
    table = pd.read_csv(folder / NOTEBOOK / "predictions.csv")
    last = table.index[table["part"] == "test"][-1]
    table.loc[last, "label"] = "df" if table.loc[last, "label"] != "df" else "nv"
    table.to_csv(tmp_path / "predictions.csv", index=False)
    found = differences(record_figures(record(folder) | {"folder": tmp_path}, lesions))
    assert any("test.accuracy.value" in one for one in found)


@pytest.fixture(scope="module")
def elsewhere(folder, lesions):
    """Figures of another clinic, whose images are the first 200 test images under other names."""
    entry = record(folder)
    table = pd.read_csv(folder / NOTEBOOK / "predictions.csv").query("part == 'test'")
    there = table[:200].assign(model=entry["name"], set="clinic", unit=lambda rows: "P-" + rows["image_id"])
    there["malignant"] = there["label"].isin([one.code for one in HAM10000 if one.malignant])
    there.loc[there["label"] == "df", "label"] = ""
    codes, malignant = zip(*((one.code, one.malignant) for one in HAM10000), strict=True)
    other = there.assign(model="another", **dict(zip(codes, there[list(codes)].to_numpy()[:, ::-1].T, strict=True)))
    (folder / EXTERNAL).parent.mkdir(exist_ok=True)
    write_csv((folder / EXTERNAL).with_name("predictions.csv"), pd.concat([there, other]))
    home = collection(Predictions.from_table(table, codes, malignant, lesions=lesions))
    places = {(one["model"].iloc[0], "clinic"): external_collection(one, one, HAM10000) for one in (there, other)}
    names = (entry["name"], "another")
    thresholds = dict.fromkeys(names, entry["threshold"])
    table = external_table(dict.fromkeys(names, home), places, thresholds, bootstrap=Bootstrap(2000))
    write_csv(folder / EXTERNAL, table)
    return folder


def test_the_figures_of_other_clinics_are_computed_again(elsewhere, lesions, tmp_path):
    elsewhere = shutil.copytree(elsewhere, tmp_path / elsewhere.name)
    (entry,) = [one for one in read_records(elsewhere) if one["name"] == "CNN"]
    records = [entry | {"name": "another"}, entry]  # not in the order of the table
    assert differences(external_figures(elsewhere, records, lesions)) == []
    table = pd.read_csv(elsewhere / EXTERNAL)
    for name in FIGURES[-2:]:
        table.loc[table.index[-1], name] += 0.001
    write_csv(elsewhere / EXTERNAL, table)
    found = differences(external_figures(elsewhere, records, lesions))
    assert len(found) == 2 and "another, clinic, malignant_specificity: difference_low is" in found[0]


def test_they_stand_in_a_table_beside_the_internal_test(elsewhere):
    header, _, internal, clinic, _, note = elsewhere_table(elsewhere, "14.ipynb").splitlines()
    assert header.startswith("| CNN | images | balanced accuracy") and "(14.ipynb)" in note
    assert internal.startswith("| internal test | 2,004 | 0.630 [0.579, 0.679] |")
    assert clinic.startswith("| clinic | 200 | ")
    assert "in clinic they rest on" in note and elsewhere_table(elsewhere / "nowhere", "14.ipynb") == ""


def test_of_a_part_of_a_published_set_the_whole_is_named(elsewhere, tmp_path):
    table = pd.read_csv(elsewhere / EXTERNAL).replace({"clinic": "PAD-UFES-20"})
    copy = tmp_path / "ham10000_cpu"
    write_csv(copy / EXTERNAL, table)
    assert "| PAD-UFES-20 | 200 of 2,298 |" in elsewhere_table(copy, "15.ipynb")


def test_figures_of_groups_are_computed_again_where_the_patients_are_known(folder, lesions, tmp_path, monkeypatch):
    study = shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(recompute, "dataset_folder", lambda dataset: tmp_path)
    (study / GROUPS).parent.mkdir()
    shutil.copy(PUBLISHED / GROUPS, study / GROUPS)
    records = [one for one in read_records(study) if one["name"] == "CNN"]
    assert group_figures(study, records, lesions) == []
    table = pd.DataFrame({"image_id": lesions.index, "age": 50.0, "sex": "male", "site": "back"})
    monkeypatch.setattr(recompute, "read_lesions", lambda path: table)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "lesions.csv").write_text("")
    found = differences(group_figures(study, records, lesions))
    assert any("groups.csv: age 45-59 (n = 2004): images is nan" in one for one in found)


@pytest.mark.slow
def test_every_figure_of_a_published_study_is_what_its_predictions_give(monkeypatch):
    """Of the smaller study; `.ci/run` checks them all."""
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    figures = published_figures("isic2019_cpu")
    assert len(figures) > 500 and differences(figures) + stale_tables("isic2019_cpu") == []


def test_a_study_without_records_has_no_figures(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert published_figures("demo") == []
