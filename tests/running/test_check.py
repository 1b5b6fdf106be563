"""`make check`: a study is complete only if no file and no figure is at fault."""

import pytest

from helpers.running import check
from helpers.running.notebooks import all_notebooks
from helpers.study import StudyError


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """The demo without results. Returns a function that sets what the recomputation of figures finds."""
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setattr(check, "differences", lambda study: [])
    return tmp_path


def test_what_was_not_run_is_named(nothing, capsys):
    assert check.main([]) == 1
    *faults, last = capsys.readouterr().out.splitlines()
    assert len(faults) == len(all_notebooks()) and all(name in "".join(faults) for name in all_notebooks())
    assert last.startswith(f"Study demo is NOT complete. Faults: {len(faults)}")


def test_figures_of_a_study_that_was_run_elsewhere_are_checked(nothing, monkeypatch, capsys):
    record = nothing / "results" / "demo" / "03_cnn_baseline" / "metrics.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert check.main(["--study", "demo"]) == 0
    note, last = capsys.readouterr().out.splitlines()
    assert "have no checksums" in note and last.startswith("Study demo is complete")
    monkeypatch.setattr(check, "differences", lambda study: ["test.accuracy.value is 0.5, but"])
    assert check.main([]) == 1 and "0.5, but" in capsys.readouterr().out

    def damaged(study):
        raise StudyError("predictions.csv: cut short")

    monkeypatch.setattr(check, "differences", damaged)
    assert check.main([]) == 1 and "predictions.csv: cut short" in capsys.readouterr().out


def test_an_unknown_study_is_no_complete_one(nothing, capsys):
    assert check.main(["--study", "nosuch"]) == 1 and "nosuch" in capsys.readouterr().err
