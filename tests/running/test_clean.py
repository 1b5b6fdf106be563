"""Cleaning names what it deletes, and keeps what took long."""

import json

import pytest

from helpers.running import clean


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Folders of a study `mine` with a trained network, of the demo, and of another study's results."""
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    for name in ("mine/variants/03/cnn/model.keras", "mine/manifests/03.json", "mine/lock", "references/a"):
        path = tmp_path / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 1000)
    (tmp_path / "build/mine/variants/03/cnn/training.json").write_text(json.dumps({"seconds": 3660}))
    for name in ("data/demo/a.jpg", "data/ham10000/cache/112px.npy", "data/ham10000/a.jpg", "results/mine/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def test_clean_keeps_networks_results_and_originals(repository, capsys):
    assert clean.main(["--no-wait"]) == 0
    kept = {"data/ham10000/a.jpg", "results/mine/a.csv"}
    kept |= {f"build/mine/variants/03/cnn/{name}" for name in ("model.keras", "training.json")}
    assert {name for name in files(repository) if "/.lock" not in name} == kept
    said = capsys.readouterr().out
    assert all(name in said for name in ("manifests", "references", "data/demo", "cache")) and "variants" not in said


def test_clean_trained_says_what_it_cost(repository, capsys):
    assert clean.main(["--trained", "mine"]) == 0
    assert "1 trained networks of study mine, trained in 1 h 1 min" in capsys.readouterr().out
    assert not (repository / "build/mine/variants").exists() and (repository / "build/mine/manifests").exists()
    assert clean.main(["--trained", "nosuch"]) == 1
    assert "no trained networks here" in capsys.readouterr().err and not (repository / "build/nosuch").exists()


def test_what_may_not_be_deleted_is_named(repository, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", "112px.npy")

    monkeypatch.setattr(clean.shutil, "rmtree", refuse)
    assert clean.main([]) == 1
    assert f"{repository}/build/mine/manifests cannot be deleted (Permission denied)" in capsys.readouterr().err
