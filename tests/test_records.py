import errno
import json
import os
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from helpers.records import (
    REMNANT,
    Run,
    atomic_path,
    network_of,
    one_per_network,
    read_predictions,
    read_records,
    remnants,
    write_csv,
    write_json,
)
from helpers.study import ROOT, StudyError, declared_parameters

SPLIT = pd.DataFrame(
    {"image_id": ["a", "b", "c"], "lesion_id": ["a", "b", "c"], "label": "nv", "part": ["train", "train", "test"]}
)
OTHER_SPLIT = SPLIT.iloc[::-1]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "results" / "metrics.json"
    write_json(target, {"a": 1})
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(target.read_text()) == {"a": 1}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "Free space"), (errno.EACCES, "Ask its owner"), (errno.EROFS, "RESULTS_DIR")]
)
def test_a_disk_that_takes_no_more_is_named_with_a_remedy(tmp_path, monkeypatch, number, remedy):
    """Whether it refuses what is written or a new file."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    target = tmp_path / "metrics.json"
    with pytest.raises(StudyError, match=f"{target} cannot be written .*{remedy}"), atomic_path(target):
        refuse()
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(StudyError, match=f"{target} cannot be written .*{remedy}"):
        write_json(target, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_from_a_file_that_cannot_be_read(tmp_path):
    if Path("/dev/full").exists():
        with pytest.raises(StudyError, match="No space left"), atomic_path(tmp_path / "a.csv"):
            Path("/dev/full").write_text("x")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.csv"):
        (tmp_path / "elsewhere" / "b.csv").read_text()
    (tmp_path / "file").touch()
    with pytest.raises(OSError), atomic_path(tmp_path / "file" / "a.csv"):
        pass


def test_what_a_killed_process_left_is_found_and_that_of_a_running_one_is_not(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    left, ours = tmp_path / f".roc-{process.pid}-ab3_efgh.png", tmp_path / f".roc-{os.getpid()}-ab3_efgh.png"
    for path in (left, ours, tmp_path / ".hidden", tmp_path / "roc.png"):
        path.touch()
    with atomic_path(tmp_path / "metrics.json") as temporary:
        assert remnants(tmp_path) == [left] and REMNANT.fullmatch(temporary.name)
    assert remnants(tmp_path.parent, deep=False) == [] and left in remnants(tmp_path.parent)


def test_others_may_read_what_was_written(tmp_path):
    write_json(tmp_path / "new.json", {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "metrics.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_csv_has_unix_line_ends(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"a": [1], "b": ["x"]}))
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n1,x\n"


def test_a_run_takes_its_parameters_and_refuses_wrong_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    values = declared_parameters(ROOT / "notebooks" / "07_model_comparison.ipynb")
    run = Run("07_model_comparison", values | {"seed": 7, "unrelated": object()})
    assert run.parameters["seed"] == 7 and "unrelated" not in run.parameters
    assert run.folder == tmp_path / "demo" / "07_model_comparison"
    with pytest.raises(StudyError, match="parameter seed"):
        Run("07_model_comparison", values | {"seed": "7"})


def test_a_figure_is_saved_shown_once_and_described(monkeypatch, tmp_path):
    shown, run = [], object.__new__(Run)
    monkeypatch.setattr("IPython.display.display", lambda figure, metadata: shown.append(metadata["image/png"]["alt"]))
    run.folder, (figure, axes) = tmp_path, plt.subplots()
    axes.set(title="The CNN leads", xlabel="score", yticks=[0, 1], yticklabels=["CNN", "LSTM"])
    axes.plot([0, 1], label="by lesion")
    run.figure(figure, "lead")
    assert shown == ["The CNN leads. Horizontal axis: score. Rows: CNN; LSTM. Lines: by lesion"]
    assert (tmp_path / "figures" / "lead.png").is_file() and not plt.fignum_exists(figure.number)


def write_example_record(folder, variant="", *, split=SPLIT, **more):
    run = object.__new__(Run)
    run.notebook, run.study, run.parameters, run.folder = folder.name, "demo", {"seed": 0}, folder
    entry = run.entry(variant or "model", "diagnosis", split) | {"test": {}} | more
    run.write_record(entry, pd.DataFrame({"image_id": ["c"]}), variant)
    return entry


def test_records_are_written_and_read_with_their_variants(tmp_path):
    variant = write_example_record(tmp_path / "03_cnn_baseline", "colour")
    write_example_record(tmp_path / "03_cnn_baseline", "of_an_earlier_run")
    write_example_record(tmp_path / "03_cnn_baseline", variants={"colour": variant})
    records = {record["name"]: record for record in read_records(tmp_path)}
    assert set(records) == {"model", "colour"}
    assert records["colour"]["folder"] == tmp_path / "03_cnn_baseline" / "variants" / "colour"
    assert (records["colour"]["folder"] / "predictions.csv").read_text() == "image_id\nc\n"
    split = records["model"]["split"]
    assert (split["train"], split["validation"], split["test"]) == (2, 0, 1)
    environment = {"python", "keras", "backend", "device", "commit", "weights_sha256", "backend_version", "numpy"}
    environment |= {"pandas", "scikit-learn", "threads"}
    assert set(records["model"]["environment"]) == environment


def test_a_damaged_record_is_named_with_the_remedy(tmp_path):
    write_example_record(tmp_path / "03_cnn_baseline")
    for name, read in (("predictions.csv", read_predictions), ("metrics.json", lambda one: read_records(one.parent))):
        path = tmp_path / "03_cnn_baseline" / name
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(StudyError, match=f"{path}: .*Run its notebook again"):
            read(path.parent)


def test_records_of_different_splits_are_not_mixed(tmp_path):
    with pytest.raises(StudyError, match="no run records"):
        read_records(tmp_path)
    write_example_record(tmp_path / "03_cnn_baseline")
    write_example_record(tmp_path / "05_mobilenet", split=OTHER_SPLIT)
    with pytest.raises(StudyError, match="2 different splits"):
        read_records(tmp_path)
    (record,) = read_records(tmp_path, notebook="05_mobilenet")
    assert record["folder"].name == "05_mobilenet"


def test_a_record_outside_the_comparison_may_be_of_an_earlier_split(tmp_path):
    write_example_record(tmp_path / "03_cnn_baseline")
    earlier = write_example_record(tmp_path / "08_leakage", "by_image", split=OTHER_SPLIT, compared=False)
    write_example_record(tmp_path / "08_leakage", split=OTHER_SPLIT, variants={"by_image": earlier}, compared=False)
    assert [record["notebook"] for record in read_records(tmp_path, compared=True)] == ["03_cnn_baseline"]
    with pytest.raises(StudyError, match="2 different splits"):
        read_records(tmp_path)


def test_a_variant_with_views_is_the_network_of_its_notebook(tmp_path):
    main = tmp_path / "05_mobilenet"
    assert network_of({"folder": main}) == (main, 1)
    assert network_of({"folder": main / "variants" / "views", "views": 8}) == (main, 8)
    assert network_of({"folder": main / "variants" / "frozen-100"}) == (main / "variants" / "frozen-100", 1)


def test_a_network_counts_once_with_its_better_reading(tmp_path):
    def record(folder, score, **more):
        validation = {"balanced_accuracy": {"value": score}}
        return {"folder": tmp_path / folder, "validation": validation, "training": {"weights": 1}} | more

    records = {"CNN": record("03", 0.6), "MobileNet": record("05", 0.7), "majority": record("03", 0.9, training=None)}
    records["8 views"] = record("05/variants/views", 0.5, views=8)
    assert one_per_network(records) == ["MobileNet", "CNN"]
    records["8 views"] = record("05/variants/views", 0.8, views=8)
    assert one_per_network(records) == ["8 views", "CNN"]
