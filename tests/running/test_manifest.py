"""What a manifest notices: each kind of damage and of change, on the files of a step that were written by hand."""

import json
import os
import shutil

import pytest
from house import NOTEBOOKS, furnish, write_notebook

from helpers.running import manifest, notebooks
from helpers.running.manifest import code_sha256, faults, made_from, manifest_path, write_manifest
from helpers.study import ROOT, StudyError

STEP = "03_cnn_baseline"
LEFT = {
    "results/tiny/notebooks/03_cnn_baseline.ipynb": "{}",
    "results/tiny/03_cnn_baseline/metrics.json": '{"score": 1}',
    "results/tiny/03_cnn_baseline/variants/cnn/predictions.csv": "image_id\nISIC_0\n",
    "build/tiny/variants/03_cnn_baseline/cnn/model.keras": "weights",
    "build/tiny/variants/03_cnn_baseline/cnn/finished.json": "{}",
}
DATA = {
    "results/tiny/notebooks/02_preprocessing.ipynb": "{}",
    "results/tiny/split.csv": "image_id,part\nISIC_0,train\n",
    "results/tiny/split.json": "{}",
    "data/ham10000/cache/lesions.csv": "image_id\nISIC_0\n",
    "data/ham10000/cache/lesions.json": "{}",
    "data/ham10000/cache/16px.npy": "pixels",
    "data/ham10000/cache/16px.json": "{}",
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with the files of two finished steps."""
    furnish(tmp_path)
    (tmp_path / "helpers").mkdir()
    shutil.copy(ROOT / "helpers" / "records.py", tmp_path / "helpers")
    for module in (notebooks, manifest):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(manifest, "dataset_folder", lambda name: tmp_path / "data" / name)
    monkeypatch.setattr(manifest, "originals_folder", lambda name: tmp_path / "data" / name)
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    code_sha256.cache_clear()
    for notebook, files in (("02_preprocessing", DATA), (STEP, LEFT)):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        write_manifest("tiny", notebook, made_from("tiny", notebook))
        assert faults("tiny", notebook) == []
    yield tmp_path
    code_sha256.cache_clear()


def damages(content):
    return {"cut": content[:-1], "zero": bytes(len(content)), "append": content + b"ISIC_1,train\n", "delete": None}


def test_each_file_that_is_lost_or_damaged_is_named(house):
    for name in (*DATA, *LEFT):
        path, step = house / name, "02_preprocessing" if name in DATA else STEP
        content, times = path.read_bytes(), (path.stat().st_atime, path.stat().st_mtime)
        for damage, damaged in damages(content).items():
            path.unlink() if damaged is None else path.write_bytes(damaged)
            if damaged is not None:
                os.utime(path, times)
            (fault,) = faults("tiny", step)
            assert str(path) in fault and ("missing" if damage == "delete" else "changed or damaged") in fault
        path.write_bytes(content)
        assert faults("tiny", step) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {}}'])
def test_a_damaged_manifest_counts_as_none(house, text):
    manifest_path("tiny", STEP).write_text(text)
    (fault,) = faults("tiny", STEP)
    assert str(manifest_path("tiny", STEP)) in fault


def test_what_a_step_was_made_from_is_compared_by_content(house):
    source = house / "studies" / "tiny.yaml"
    source.write_text("# another comment\ndataset: ham10000\nstudy: tiny\n")  # the same values
    assert faults("tiny", STEP) == []
    source.write_text("study: tiny\ndataset: ham10000\nepochs: 9\n")
    os.utime(source, (1, 1))  # older than the manifest
    assert faults("tiny", STEP) == ["The parameter epochs was 3 and is 9."]
    assert faults("tiny", "02_preprocessing") == []  # which has no such parameter


def test_comments_and_docstrings_of_the_code_do_not_matter(house):
    path = house / "helpers" / "records.py"
    path.write_text("# a comment\n" + path.read_text().replace('"""Atomic file', '"""Quite another file'))
    code_sha256.cache_clear()
    assert faults("tiny", STEP) == []
    path.write_text(path.read_text() + "\nFULL = 7\n")
    code_sha256.cache_clear()
    assert faults("tiny", STEP) == ["The code of the study changed."]


def test_code_and_notebooks_that_cannot_be_read_are_named(house):
    (house / "helpers" / "records.py").write_text("def f(:\n")
    code_sha256.cache_clear()
    with pytest.raises(StudyError, match="records.py, line 1: invalid syntax. Correct it."):
        faults("tiny", STEP)
    path = house / "notebooks" / f"{STEP}.ipynb"
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(StudyError, match=f"{path}: not a notebook, or cut short. Restore it"):
        faults("tiny", STEP)


def test_another_backend_and_other_weights_to_start_from_count(house, monkeypatch):
    reads, parameters, code = NOTEBOOKS[STEP]
    write_notebook(house, STEP, reads, f'{parameters}\npretrained = "data/start.h5"\nprecision = "float32"', code)
    (house / "data" / "start.h5").write_text("weights")
    write_manifest("tiny", STEP, made_from("tiny", STEP))
    (house / "data" / "start.h5").write_text("other weights")
    assert faults("tiny", STEP) == ["The pretrained weights changed."]
    (house / "data" / "start.h5").write_text("weights")
    assert faults("tiny", STEP) == []
    monkeypatch.setenv("KERAS_BACKEND", "another")
    assert faults("tiny", STEP) == ["The backend changed."]
    assert faults("tiny", "02_preprocessing") == []  # which computes with no network


def test_images_of_other_clinics_count_for_their_notebook(house, monkeypatch):
    reads, parameters, code = NOTEBOOKS["07_model_comparison"]
    write_notebook(house, manifest.ELSEWHERE, reads, parameters, code)
    monkeypatch.setenv("EXTERNAL_DIR", str(house / "elsewhere"))
    write_manifest("tiny", manifest.ELSEWHERE, made_from("tiny", manifest.ELSEWHERE))
    assert faults("tiny", manifest.ELSEWHERE) == []
    (house / "elsewhere" / "ph2").mkdir(parents=True)
    (house / "elsewhere" / "ph2" / "PH2_dataset.txt").write_text("a table")
    assert faults("tiny", manifest.ELSEWHERE) == ["The images in ph2 changed."]


def test_an_edited_notebook_counts(house):
    reads, parameters, code = NOTEBOOKS[STEP]
    write_notebook(house, STEP, reads, parameters, code + "\nprint(1)")
    assert faults("tiny", STEP) == ["The notebook changed."]


def test_other_originals_count_for_what_reads_them(house):
    (house / "data" / "ham10000" / "HAM10000_images_part_1" / "ISIC_0.png").write_bytes(b"another")
    assert faults("tiny", "02_preprocessing") == ["The publisher's files changed."]
    assert faults("tiny", STEP) == []


def test_originals_that_are_out_of_reach_for_now_change_nothing(house, monkeypatch):
    """Such as those on a disk that is not connected."""
    monkeypatch.setattr(manifest, "originals_folder", lambda name: house / "disk" / name)
    assert faults("tiny", "02_preprocessing") == []


def test_a_step_is_out_of_date_when_one_that_it_reads_has_other_results(house):
    (house / "results/tiny/notebooks/02_preprocessing.ipynb").write_text("only its page")
    write_manifest("tiny", "02_preprocessing", made_from("tiny", "02_preprocessing"))
    assert faults("tiny", STEP) == []
    (house / "results/tiny/split.csv").write_text("image_id,part\nISIC_0,test\n")
    write_manifest("tiny", "02_preprocessing", made_from("tiny", "02_preprocessing"))
    assert faults("tiny", STEP) == ["02_preprocessing has new results."]
    manifest_path("tiny", "02_preprocessing").unlink()
    assert faults("tiny", STEP) == ["02_preprocessing has new results."]


def test_the_checksum_of_a_large_file_is_remembered_until_the_file_changes(house, monkeypatch):
    monkeypatch.setattr(manifest, "LARGE", 3)
    path, computed = house / "data/ham10000/cache/16px.npy", []
    real = manifest.file_sha256
    monkeypatch.setattr(manifest, "file_sha256", lambda one: computed.append(one) or real(one))
    assert faults("tiny", "02_preprocessing") == [] and path in computed
    computed.clear()
    assert faults("tiny", "02_preprocessing") == [] and path not in computed
    path.write_text("PIXELS")
    assert str(path) in faults("tiny", "02_preprocessing")[0]
    path.write_text("pixels")
    assert faults("tiny", "02_preprocessing") == []
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("PIXELS")
    os.utime(path, ns=times)
    assert faults("tiny", "02_preprocessing") == []
    for reread in (True, False):  # what `make check` has found make knows afterwards
        assert str(path) in faults("tiny", "02_preprocessing", reread=reread)[0]


def test_names_in_a_manifest_are_relative(house):
    names = json.loads(manifest_path("tiny", STEP).read_text())["files"]
    assert names.keys() == {name.replace("/tiny/", "/", 1) for name in LEFT}
    assert str(house) not in manifest_path("tiny", "02_preprocessing").read_text()


def test_an_unknown_notebook_is_refused():
    with pytest.raises(StudyError, match="99_x.ipynb: no such notebook. Known notebooks: 01_eda"):
        notebooks.read_notebooks("99_x")


def code_of(path):
    cells = json.loads(path.read_text())["cells"]
    return "".join(line for cell in cells if cell["cell_type"] == "code" for line in cell["source"])


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_opening_names_every_notebook_whose_files_the_code_reads(path):
    code, reads = code_of(path), set(notebooks.read_notebooks(path.stem))
    assert {other for other in notebooks.all_notebooks() if f'"{other}"' in code} - {path.stem} <= reads
    assert "Experiment(" not in code or "02_preprocessing" in reads
    assert "read_records(" not in code or {"03_cnn_baseline", "04_cnn_lstm", "05_mobilenet"} <= reads


def test_without_images_of_other_clinics_their_notebook_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setenv("EXTERNAL_DIR", str(tmp_path))
    assert notebooks.ELSEWHERE in notebooks.possible_notebooks("demo") == notebooks.all_notebooks()
    assert notebooks.ELSEWHERE not in notebooks.possible_notebooks("ham10000_cpu")
    (tmp_path / "ph2").mkdir()
    assert notebooks.possible_notebooks("ham10000_cpu") == notebooks.all_notebooks()
