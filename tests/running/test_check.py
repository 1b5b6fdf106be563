"""`make check`: a study is complete only if no file and no figure is at fault."""

import shutil

import nbformat
import pytest

from helpers.running import check
from helpers.running.notebooks import all_notebooks
from helpers.study import ROOT, StudyError


@pytest.fixture
def no_results(tmp_path, monkeypatch):
    """The demo without results. Returns a function that sets what the recomputation of figures finds."""
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setattr(check, "published_figures", lambda study: [])
    return tmp_path


def test_what_was_not_run_is_named(no_results, capsys):
    assert check.main([]) == 1
    *faults, last = capsys.readouterr().out.splitlines()
    assert [fault.partition(":")[0] for fault in faults] == all_notebooks()
    assert last.startswith(f"Study demo is NOT complete. Faults: {len(faults)}")


def test_figures_of_a_study_that_was_run_elsewhere_are_checked(no_results, monkeypatch, capsys):
    record = no_results / "results" / "demo" / "03_cnn_baseline" / "metrics.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert check.main(["--study", "demo"]) == 0
    note, last = capsys.readouterr().out.splitlines()
    assert "have no checksums" in note and last.startswith("Study demo is complete")
    monkeypatch.setattr(check, "published_figures", lambda study: [("test.accuracy.value", 0.5, 0.6), ("b", 0.1, 0.1)])
    assert check.main([]) == 1
    printed = capsys.readouterr().out
    assert "value is 0.5, but the predictions give 0.6" in printed and "computed again: 2; pages" in printed

    def raise_fault(study):
        raise StudyError("predictions.csv: cut short")

    monkeypatch.setattr(check, "published_figures", raise_fault)
    assert check.main([]) == 1 and "predictions.csv: cut short" in capsys.readouterr().out


def test_pages_from_older_notebooks_are_counted(no_results, capsys):
    pages = no_results / "results" / "demo" / "notebooks"
    pages.mkdir(parents=True)
    for name in ("01_eda.ipynb", "02_preprocessing.ipynb"):
        shutil.copy(ROOT / "notebooks" / name, pages)
    assert check.older_pages("demo") == []
    notebook = nbformat.read(pages / "01_eda.ipynb", as_version=4)
    notebook.cells[0].source += "!"
    nbformat.write(notebook, pages / "01_eda.ipynb")
    check.main([])
    *_, named, last = capsys.readouterr().out.splitlines()
    assert named.startswith("Pages from older notebooks: 01_eda.") and last.endswith("from older notebooks: 1.")
    (pages / "01_eda.ipynb").write_text("{")  # cut short
    assert check.older_pages("demo") == ["01_eda"]


def test_an_unknown_study_is_no_complete_one(no_results, capsys):
    assert check.main(["--study", "nosuch"]) == 1 and "nosuch" in capsys.readouterr().err
