"""Deletes what runs have left: `python -m helpers.running.clean` all but results and trained networks.

With `--trained` it deletes the trained networks of one study, and says how long they took to train.
"""

import argparse
import shutil
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from helpers.reading import read_note
from helpers.records import remnants
from helpers.running.lock import dataset_lock, study_lock
from helpers.running.notebooks import study_dataset
from helpers.study import ROOT, StudyError, build_folder, exit_code, results_folder

TRAINED = ("variants", "search", "trials")  # in the build folder of a study
KEPT = (*TRAINED, "lock", "data_dir")


def sweep(study: str) -> None:
    """Delete the temporary files of killed processes in the folders of a study and its dataset."""
    data = ROOT / "data"
    for folder in (results_folder(study), build_folder(study), data / study_dataset(study) / "cache"):
        delete(remnants(folder))
    delete(remnants(data, deep=False))


def clean(wait: bool = True) -> None:
    """Delete manifests, reports, tests, demo results, demo data and pixel caches, and name each of them.

    Published results, downloads, trials and trained networks stay. Raises StudyError if a study is in use and `wait` is
    False.
    """
    build, data = build_folder("demo").parent, ROOT / "data"
    studies = [path.parent for path in sorted(build.glob("*/lock"))]
    with ExitStack() as locks:
        for folder in studies:
            locks.enter_context(study_lock(folder.name, wait=wait))
        locks.enter_context(dataset_lock("demo", wait=wait))
        found = [path for folder in studies for path in sorted(folder.iterdir()) if path.name not in KEPT]
        found += [path for path in sorted(build.glob("*")) if path not in studies and path.name != "verify"]
        found += [results_folder("demo"), data / "demo", *sorted(data.glob("*/cache")), *remnants(data, deep=False)]
        delete(path for path in found if path.exists())


def clean_trained(study: str, wait: bool = True) -> None:
    """Delete the trained networks and searches of a study, and say how long they took to train.

    Raises StudyError if nothing of the study was ever run, and if it is in use and `wait` is False.
    """
    if not build_folder(study).is_dir():
        raise StudyError(f"{build_folder(study)}: no such folder, so study {study} has no trained networks here.")
    with study_lock(study, wait=wait):
        folders = [build_folder(study) / name for name in TRAINED]
        notes = [read_note(path) for folder in folders for path in folder.rglob("training.json")]
        trainings = [note.get("seconds", 0.0) for note in notes]
        hours, minutes = divmod(round(sum(trainings) / 60), 60)
        print(f"{len(trainings)} trained networks of study {study}, trained in {hours} h {minutes} min:")
        delete(folder for folder in folders if folder.exists())


def delete(paths: Iterable[Path]) -> None:
    """Delete files and folders, and print the name and size of each. Raises StudyError for what is another user's."""
    for path in paths:
        files = [path] if not path.is_dir() else [one for one in path.rglob("*") if one.is_file()]
        size = sum(one.stat().st_size for one in files) / 1e6
        print(f"deleting {path} ({size:.1f} MB)", flush=True)
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise StudyError(f"{path} cannot be deleted ({error.strerror}). Ask its owner to.") from error


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.clean", description=__doc__)
    parser.add_argument("--trained", metavar="STUDY", help="delete the trained networks of this study instead")
    parser.add_argument("--no-wait", action="store_true", help="give up if another process works on a study")
    options = parser.parse_args(arguments)
    wait = not options.no_wait
    return exit_code(lambda: clean_trained(options.trained, wait) if options.trained else clean(wait))


if __name__ == "__main__":
    sys.exit(main())
