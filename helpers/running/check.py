"""Whether a study can be trusted: `python -m helpers.running.check --study demo` names every fault that it finds."""

import argparse
import os
import sys

from helpers.running.manifest import faults, manifest_path
from helpers.running.notebooks import possible_notebooks, study_dataset
from helpers.running.recompute import differences
from helpers.study import StudyError, exit_code, results_folder


def check_files(study: str) -> list[str]:
    """A sentence for each notebook that is not finished or out of date, and each file that is missing or changed."""
    notebooks = possible_notebooks(study)
    published = any(results_folder(study).glob("*/metrics.json"))
    if published and not any(manifest_path(study, notebook).is_file() for notebook in notebooks):
        print(
            f"No notebook of {study} was run here, so its published files have no checksums; its figures are checked."
        )
        return []
    return [fault for notebook in notebooks for fault in faults(study, notebook, reread=True)]


def check_figures(study: str) -> list[str]:
    """A sentence for each figure that the predictions of the study do not give, or for a file that cannot be read."""
    try:
        return differences(study)
    except StudyError as error:
        return [str(error)]


def check(study: str) -> bool:
    """Print every fault of a study and, in the last line, whether it is complete; returns that."""
    study_dataset(study)  # an unknown study ends here
    found = check_files(study) + check_figures(study)
    for fault in found:
        print(fault)
    folder = os.path.relpath(results_folder(study))
    if found:
        print(f"Study {study} is NOT complete. Faults: {len(found)}, see above. `make all STUDY={study}` repairs them.")
    else:
        print(f"Study {study} is complete: no fault was found in {folder}/.")
    return not found


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.check", description=__doc__)
    parser.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    study = parser.parse_args(arguments).study
    return exit_code(lambda: not check(study))


if __name__ == "__main__":
    sys.exit(main())
