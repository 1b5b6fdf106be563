"""Whether a study can be trusted: `python -m helpers.running.check --study demo` names every fault that it finds."""

import argparse
import os
import sys
from pathlib import Path

from helpers.running.manifest import faults, manifest_path
from helpers.running.notebooks import possible_notebooks, study_dataset
from helpers.running.recompute import GROUPS, differences, published_figures, stale_tables
from helpers.study import ROOT, StudyError, exit_code, notebook_cells, results_folder


def check_files(study: str) -> list[str]:
    """A sentence for each notebook that is not finished or out of date, and each file that is missing or changed."""
    notebooks = possible_notebooks(study)
    published = any(results_folder(study).glob("*/metrics.json"))
    if published and not any(manifest_path(study, notebook).is_file() for notebook in notebooks):
        print(
            f"No notebook of {study} was run here, so its published files have no checksums; its figures are checked."
        )
        return []
    return [f"{notebook}: {fault}" for notebook in notebooks for fault in faults(study, notebook, reread=True)]


def check_figures(study: str) -> tuple[str, list[str]]:
    """How many figures were computed again, in words, and a sentence for each that is wrong or cannot be read."""
    try:
        figures = published_figures(study)
        found = differences(figures) + (stale_tables(study) if figures else [])
    except StudyError as error:
        return "none", [str(error)]
    groups = results_folder(study) / GROUPS
    known = not groups.is_file() or any(name.startswith(str(groups)) for name, *_ in figures)
    return (
        f"{len(figures):,}{'' if known else f', without {groups.name}, which needs the table of lesions of 02'}",
        found,
    )


def older_pages(study: str) -> list[str]:
    """The executed notebooks of a study that were made from other sources than those in notebooks/."""
    pages = sorted((results_folder(study) / "notebooks").glob("*.ipynb"))
    return [page.stem for page in pages if _sources(page) != _sources(ROOT / "notebooks" / page.name)]


def _sources(path: Path) -> list[str]:
    try:
        cells = notebook_cells(path)
    except StudyError:  # missing or damaged
        return []
    return [cell["source"] for cell in cells if "injected-parameters" not in cell["metadata"].get("tags", [])]


def check(study: str) -> bool:
    """Print every fault of a study and, in the last line, whether it is complete; returns that."""
    study_dataset(study)  # an unknown study ends here
    count, wrong = check_figures(study)
    found, folder = check_files(study) + wrong, results_folder(study)
    for fault in found:
        print(fault)
    if older := older_pages(study):
        print(f"Pages from older notebooks: {', '.join(older)}. `make all STUDY={study}` renews them.")
    verdict = f"is complete: no fault was found in {os.path.relpath(folder)}/."
    if found:
        verdict = f"is NOT complete. Faults: {len(found)}, see above. `make all STUDY={study}` repairs them."
    print(f"Study {study} {verdict} Figures computed again: {count}; pages from older notebooks: {len(older)}.")
    return not found


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.check", description=__doc__)
    parser.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    study = parser.parse_args(arguments).study
    return exit_code(lambda: not check(study))


if __name__ == "__main__":
    sys.exit(main())
