"""A tiny study from make to its files: what runs again, what else runs at the same time, and what a stop leaves."""

import os
import shutil
import signal
import time

import pytest
from house import NOTEBOOKS, build_house, fingerprint, make, processes_of, start, write_notebook

pytestmark = pytest.mark.slow
COMPLETE = "Study tiny is complete"
ALL = list(NOTEBOOKS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A house whose study was run."""
    house = build_house(tmp_path_factory.mktemp("run & ü") / "house")
    assert COMPLETE in make(house, "all").splitlines()[-1]
    return house


@pytest.fixture
def house(run, tmp_path):
    """A copy of it elsewhere, like a checkout that was moved."""
    return shutil.copytree(run, tmp_path / "moved", symlinks=True)


def notebooks_run(output):
    return [line.split(":")[0] for line in output.splitlines() if ": running for study" in line]


def begin(house, *words):
    """Start make on a changed study, and return it in the middle of the training, which goes on without `hold`."""
    (house / "hold").touch()
    (house / "studies" / "tiny.yaml").write_text("study: tiny\ndataset: ham10000\nepochs: 5\n")
    shutil.rmtree(house / "build" / "tiny" / "variants")
    process = start(house, *words)
    while not list((house / "build" / "tiny").rglob("model.keras")):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    return process


def wait_for_the_end(house):
    """Return when no process works in the house any longer."""
    for _ in range(300):
        if not processes_of(house):
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {processes_of(house)}")


def test_a_moved_checkout_is_complete_and_a_change_runs_what_reads_it(house):
    assert notebooks_run(make(house, "all")) == []
    assert COMPLETE in make(house, "check").splitlines()[-1]
    (house / "studies" / "tiny.yaml").write_text("study: tiny\ndataset: ham10000\nepochs: 4\n")
    os.utime(house / "studies" / "tiny.yaml", (1, 1))  # times do not matter
    said = make(house, "check", status=1)
    assert "The parameter epochs was 3 and is 4." in said and "Study tiny is NOT complete" in said
    assert notebooks_run(make(house, "all")) == ALL[1:]


def test_what_was_lost_or_damaged_is_named_and_mended(house):
    before = fingerprint(house)
    for name in ("data/ham10000/cache/16px.npy", "results/tiny/03_cnn_baseline/metrics.json"):
        (house / name).write_bytes(bytes(len((house / name).read_bytes())))
    for name in ("results/tiny/split.csv", "data/ham10000/cache/lesions.csv"):
        (house / name).unlink()
    (house / "build/tiny/variants/03_cnn_baseline/cnn/model.keras").write_bytes(b"other weights")
    said = make(house, "check", status=1)
    assert all(name in said for name in ("16px.npy", "metrics.json", "split.csv", "lesions.csv", "model.keras"))
    assert notebooks_run(make(house, "all")) == ALL[:2]  # the third reads the same as before
    assert fingerprint(house) == before and notebooks_run(make(house, "all")) == []


def test_a_notebook_that_fails_is_named_and_stops_the_study(house):
    reads, parameters, code = NOTEBOOKS["03_cnn_baseline"]
    write_notebook(house, "03_cnn_baseline", reads, parameters, code + "\n1 / 0")
    said = make(house, "all", status=1)
    assert "ZeroDivisionError" in said and "Study tiny is not complete, because 03_cnn_baseline failed." in said
    assert notebooks_run(said) == ["03_cnn_baseline"] and "Traceback" not in said
    write_notebook(house, "03_cnn_baseline", reads, parameters, code)
    assert notebooks_run(make(house, "all")) == ["03_cnn_baseline"]


def test_two_makes_wait_for_each_other_or_give_up(house):
    first = begin(house, "all")
    for words in (["all"], ["clean"], ["clean-trained"]):
        said = make(house, *words, "WAIT=no", status=1)
        assert "Study tiny is in use by process" in said and "Try again" in said
    second = start(house, "all")
    assert "is in use by process" in second.stdout.readline()
    (house / "hold").unlink()
    assert notebooks_run(first.communicate(timeout=120)[0]) == ALL[1:] and first.returncode == 0
    said = second.communicate(timeout=120)[0]
    assert notebooks_run(said) == [] and COMPLETE in said


def test_a_study_that_is_edited_while_it_runs_stops_and_is_not_complete(house):
    process = begin(house, "all")
    (house / "studies" / "tiny.yaml").write_text("study: tiny\ndataset: ham10000\nside: 8\n")
    (house / "hold").unlink()
    said, _ = process.communicate(timeout=120)
    assert process.returncode and "tiny.yaml was edited while its notebooks ran" in said
    assert notebooks_run(make(house, "03_cnn_baseline")) == ALL[:2]


def test_an_interruption_of_make_alone_ends_everything_in_a_line(house):
    process = begin(house, "all")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert "Stopped. The same command continues." in said and "Traceback" not in said and process.returncode
    wait_for_the_end(house)


def test_a_killed_make_leaves_no_process(house):
    process = begin(house, "all")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for_the_end(house)


def test_remnants_are_swept_and_cleaning_keeps_what_was_trained(house):
    remnants = ["data/.demo-99999999-abcdefgh", "results/tiny/03_cnn_baseline/figures/.roc-99999999-abcdefgh.png"]
    (house / remnants[0]).mkdir()
    (house / remnants[1]).parent.mkdir()
    (house / remnants[1]).touch()
    said = make(house, "all")
    assert all(f"{name} (" in said and not (house / name).exists() for name in remnants) and notebooks_run(said) == []
    kept = fingerprint(house)
    said = make(house, "clean")
    assert "deleting" in said and "build/tiny/steps" in said and "data/ham10000/cache" in said
    assert not (house / "data/ham10000/cache").exists()
    assert fingerprint(house) == {name: one for name, one in kept.items() if not name.startswith("data/")}
    said = make(house, "clean-trained")
    assert "1 trained networks of study tiny, trained in 0 h 1 min" in said and "build/tiny/variants" in said
    assert not (house / "build/tiny/variants").exists()


def test_a_disk_that_takes_no_more_is_named_and_the_next_make_goes_on(house):
    before = fingerprint(house)
    shutil.rmtree(house / "build" / "tiny" / "variants")
    said = make(house, "all", status=1, largest=100_000)
    assert "model.keras cannot be written (File too large)" in said and "ulimit" in said and "Traceback" not in said
    assert not list(house.rglob("*.keras")) and not list((house / "build").rglob(".*"))
    make(house, "all")
    assert fingerprint(house) == before


@pytest.mark.parametrize("folder", ["results/tiny", "build/tiny", "."])
def test_a_folder_that_is_not_ones_own_is_named_before_anything_runs(house, folder):
    """Results of another user, and a checkout that was just mounted to be read."""
    if folder == ".":
        shutil.rmtree(house / "results"), shutil.rmtree(house / "build")
    (house / folder).chmod(0o555)
    said = make(house, "all", status=1, ordinary=True)
    assert str(house / folder) in said and "Traceback" not in said and notebooks_run(said) == []
    assert "Ask its owner" in said or "permit writing there" in said
    (house / folder).chmod(0o755)


def test_an_unknown_study_is_named_and_leaves_no_folder(house):
    for words in (["clean-trained"], ["03_cnn_baseline"]):
        assert "nosuch" in make(house, *words, "STUDY=nosuch", status=1)
    assert not list(house.glob("*/nosuch"))


def test_a_trial_lies_beside_the_study_also_when_it_fails(house):
    before, place = fingerprint(house), house / "results/tiny/trials/03_cnn_baseline"
    manifests = {path: path.read_bytes() for path in (house / "build/tiny/steps").iterdir()}
    said = make(house, "03_cnn_baseline", "ARGS=-p epochs 5")
    assert "results/tiny/trials/03_cnn_baseline/epochs=5/" in said.splitlines()[-1]
    assert '"epochs": 5' in (place / "epochs=5" / "metrics.json").read_text()
    assert (place / "epochs=5" / "03_cnn_baseline.ipynb").is_file()
    assert list((house / "build/tiny/trials/03_cnn_baseline/epochs=5").rglob("model.keras"))
    make(house, "03_cnn_baseline", "ARGS=-p epochs 5", "NAME=five")
    assert (place / "five" / "metrics.json").is_file()
    assert "unknown parameter 'epoch'" in make(house, "03_cnn_baseline", "ARGS=-p epoch 5", status=1)
    assert "Parameters are for one notebook" in make(house, "all", "ARGS=-p epochs 5", status=1)
    assert "ValueError" in make(house, "03_cnn_baseline", "ARGS=-p epochs 300", status=1)  # bytes([256])
    shutil.rmtree(place.parent)
    assert fingerprint(house) == before
    assert manifests == {path: path.read_bytes() for path in (house / "build/tiny/steps").iterdir()}
