import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import backend, study
from helpers.records import Run, atomic_path, network_of, read_records, write_csv, write_json
from helpers.sentences import clear_sign, with_interval, wording
from helpers.study import (
    ROOT,
    StudyError,
    build_folder,
    check_parameters,
    declared_parameters,
    load_study,
    parse_value,
    results_folder,
)

DECLARED = {"study": "demo", "epochs": 5, "learning_rate": 1e-3, "filters": [16, 32], "keep": True, "seeds": []}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "results" / "metrics.json"
    write_json(target, {"a": 1})
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(target.read_text()) == {"a": 1}
    assert list(target.parent.iterdir()) == [target]


def test_others_may_read_what_was_written(tmp_path):
    write_json(tmp_path / "new.json", {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "metrics.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_csv_has_unix_line_ends(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"a": [1], "b": ["x"]}))
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n1,x\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1e5", 1e5), ("5", 5), ("0.5", 0.5), ("[16, 32]", [16, 32]), ("true", True), ("focal", "focal")],
)
def test_values_are_read_as_a_person_means_them(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    "given",
    [{"epochs": 9}, {"learning_rate": 1}, {"filters": [8]}, {"filters": []}, {"keep": False}, {"seeds": [1, 2]}, {}],
)
def test_right_parameters_pass(given):
    check_parameters(given, DECLARED, "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 9}, "studies/x.yaml: unknown parameter 'epoch'. Did you mean 'epochs'"),
        ({"zzz": 9}, "unknown parameter 'zzz'. Known are epochs, filters"),
        ({"epochs": "9"}, "parameter epochs is '9'; it has to be int, like 5"),
        ({"epochs": 9.5}, "it has to be int"),
        ({"epochs": True}, "it has to be int"),
        ({"learning_rate": "fast"}, "it has to be float"),
        ({"learning_rate": True}, "it has to be float"),
        ({"filters": 16}, "it has to be list"),
        ({"filters": ["a"]}, "it has to be list"),
        ({"keep": 1}, "it has to be bool"),
    ],
)
def test_wrong_parameters_are_named(given, message):
    with pytest.raises(StudyError, match=message):
        check_parameters(given, DECLARED, "studies/x.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: other\n", "`study` is 'other'; it has to be the file's name, mine"),
        ("study: mine\nnested: {a: 1}\n", "flat list"),
        ("- a\n- b\n", "flat list"),
        ("study: [mine\n", "not valid YAML"),
    ],
)
def test_bad_study_files(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=message):
        load_study(path)


def test_an_absent_study_file_lists_the_known_ones(tmp_path):
    with pytest.raises(StudyError, match="Known studies: .*demo"):
        load_study(tmp_path / "mine.yaml")


def write_notebook(path, *cells):
    notebook = nbformat.v4.new_notebook()
    for source, tags in cells:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": tags})
        notebook.cells.append(cell)
    nbformat.write(notebook, path)
    return path


def test_declared_parameters_come_from_the_tagged_cell(tmp_path):
    source = "study = 'demo'  # a name\nrate = 1e-3\nwidths = [1, 2]"
    path = write_notebook(tmp_path / "a.ipynb", (source, ["parameters"]), ("other = 1", []))
    assert declared_parameters(path) == {"study": "demo", "rate": 1e-3, "widths": [1, 2]}
    with pytest.raises(StudyError, match="0 cells are tagged"):
        declared_parameters(write_notebook(tmp_path / "b.ipynb", ("other = 1", [])))
    with pytest.raises(StudyError, match="no such notebook. Known notebooks: 01_eda"):
        declared_parameters(tmp_path / "c.ipynb")


def test_results_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("RESULTS_DIR", raising=False)
    assert results_folder("demo") == ROOT / "results" / "demo"
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert results_folder("demo") == tmp_path / "demo"


def test_unfinished_work_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("BUILD_DIR", raising=False)
    assert build_folder("demo") == ROOT / "build" / "demo"
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    assert build_folder("demo") == tmp_path / "demo"


def test_a_run_takes_its_parameters_and_refuses_wrong_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    values = declared_parameters(ROOT / "notebooks" / "07_model_comparison.ipynb")
    run = Run("07_model_comparison", values | {"seed": 7, "unrelated": object()})
    assert run.parameters["seed"] == 7 and "unrelated" not in run.parameters
    assert run.folder == tmp_path / "demo" / "07_model_comparison"
    with pytest.raises(StudyError, match="parameter seed"):
        Run("07_model_comparison", values | {"seed": "7"})


SPLIT = pd.DataFrame(
    {"image_id": ["a", "b", "c"], "lesion_id": ["a", "b", "c"], "label": "nv", "part": ["train", "train", "test"]}
)


def write_example_record(folder, variant="", split=SPLIT, variants=None, **about):
    run = object.__new__(Run)
    run.notebook, run.study, run.parameters, run.folder = folder.name, "demo", {"seed": 0}, folder
    entry = run.entry(variant or "model", "diagnosis", split, {"test": {}}, None) | {"variants": variants or {}} | about
    run.write_record(entry, pd.DataFrame({"image_id": ["c"]}), variant)
    return entry


def test_figures_in_words():
    figure = {"value": 0.5, "low": 0.4, "high": 0.61}
    assert with_interval(figure) == "0.500 [0.400, 0.610]" and with_interval(figure, 1) == "0.5 [0.4, 0.6]"
    assert with_interval({"value": -0.1, "low": -0.2, "high": -0.0001}) == "-0.100 [-0.200, -0.000]"
    assert with_interval(dict.fromkeys(figure)) == "–"
    assert with_interval({"value": 0.5, "low": None, "high": None}) == "0.500 [–]"
    assert with_interval(pd.Series(dict.fromkeys(figure, np.nan))) == "–"


@pytest.mark.parametrize(
    ("figure", "sign", "words"),
    [
        ((0.2, 0.1, 0.3), 1, "clearly more"),
        ((-0.2, -0.3, -0.1), -1, "clearly less"),
        ((0.2, -0.1, 0.3), 0, "no clear difference"),
        ((0.2, 0.0, 0.3), 0, "no clear difference"),
        ((0.2, None, None), None, "not known"),
        ((None, None, None), None, "not known"),
    ],
)
def test_a_difference_is_clear_if_its_interval_leaves_out_zero(figure, sign, words):
    difference = dict(zip(("value", "low", "high"), figure, strict=True))
    assert clear_sign(difference) == sign and wording(difference) == words


def test_records_are_written_and_read_with_their_variants(tmp_path):
    variant = write_example_record(tmp_path / "03_cnn_baseline", "colour")
    write_example_record(tmp_path / "03_cnn_baseline", "of_an_earlier_run")
    write_example_record(tmp_path / "03_cnn_baseline", variants={"colour": variant})
    records = {record["name"]: record for record in read_records(tmp_path)}
    assert set(records) == {"model", "colour"}
    assert records["colour"]["folder"] == tmp_path / "03_cnn_baseline" / "variants" / "colour"
    assert (records["colour"]["folder"] / "predictions.csv").read_text() == "image_id\nc\n"
    entry = records["model"]
    assert {key: entry["split"][key] for key in ("train", "validation", "test")} == {
        "train": 2,
        "validation": 0,
        "test": 1,
    }
    assert {"python", "keras", "backend", "device", "commit", "weights_sha256"} == set(entry["environment"])


def test_records_of_different_splits_are_not_mixed(tmp_path):
    with pytest.raises(StudyError, match="no run records"):
        read_records(tmp_path)
    write_example_record(tmp_path / "03_cnn_baseline")
    write_example_record(tmp_path / "05_mobilenet", split=SPLIT.iloc[::-1])
    with pytest.raises(StudyError, match="2 different splits"):
        read_records(tmp_path)
    (alone,) = read_records(tmp_path, notebook="05_mobilenet")
    assert alone["folder"].name == "05_mobilenet"


def test_a_stale_record_of_what_is_not_compared_does_not_stand_in_the_way(tmp_path):
    write_example_record(tmp_path / "03_cnn_baseline")
    earlier = write_example_record(tmp_path / "08_leakage", "by_image", SPLIT.iloc[::-1], compared=False)
    write_example_record(tmp_path / "08_leakage", "", SPLIT.iloc[::-1], {"by_image": earlier}, compared=False)
    assert [record["notebook"] for record in read_records(tmp_path, compared=True)] == ["03_cnn_baseline"]
    with pytest.raises(StudyError, match="2 different splits"):
        read_records(tmp_path)


def test_outside_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(study, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert backend.environment()["commit"] is None


def test_two_seeded_draws_agree():
    import keras

    draws = []
    for _ in range(2):
        backend.set_seed(3)
        draws.append((np.random.rand(), float(keras.random.normal(()))))
    assert draws[0] == draws[1]


def test_helpers_need_no_backend_of_their_own():
    code = (
        "import sys, helpers.running.runner, helpers.running.report, helpers.data.lesions, helpers.data.split\n"
        "import helpers.evaluation.judge, helpers.plots\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_views_are_another_reading_of_the_notebooks_network(tmp_path):
    main, views = tmp_path / "05_mobilenet", tmp_path / "05_mobilenet" / "variants" / "views"
    assert network_of({"folder": main}) == (main, 1)
    assert network_of({"folder": views, "views": 8}) == (main, 8)
    assert network_of({"folder": main / "variants" / "frozen-100"}) == (main / "variants" / "frozen-100", 1)
