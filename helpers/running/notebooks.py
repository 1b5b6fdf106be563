"""What a notebook declares: its parameters, which a study changes, and the notebooks whose files it reads."""

import re
from collections import ChainMap

from helpers.data.external import EXTERNAL, external_folder
from helpers.study import ROOT, StudyError, check_parameters, declared_parameters, load_study, notebook_cells

NOTEBOOKS = ROOT / "notebooks"
ELSEWHERE = "15_external_validation"  # needs images of other clinics


def study_parameters(study: str, notebook: str, given: dict) -> dict:
    """The parameters of a notebook: the study's values for those it declares, replaced by those `given`.

    Raises StudyError for a name in the study that no notebook declares, a name on the command line that this notebook
    does not declare, and a value of the wrong type.
    """
    source = ROOT / "studies" / f"{study}.yaml"
    values = load_study(source)
    declared = declared_parameters(NOTEBOOKS / f"{notebook}.ipynb")
    if "study" in given:
        raise StudyError("command line: choose the study with --study, not as a parameter.")
    everywhere = [declared_parameters(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    check_parameters(values, dict(ChainMap(*everywhere)), str(source))
    check_parameters(given, declared, "command line")
    return {name: value for name, value in values.items() if name in declared} | given


def effective_parameters(study: str, notebook: str) -> dict:
    """All parameters of a notebook with the values that they have in a study. For errors see `study_parameters`."""
    return declared_parameters(NOTEBOOKS / f"{notebook}.ipynb") | study_parameters(study, notebook, {})


def study_dataset(study: str) -> str:
    """The dataset of a study: demo if its file names none."""
    return load_study(ROOT / "studies" / f"{study}.yaml").get("dataset", "demo")


def read_notebooks(notebook: str) -> tuple[str, ...]:
    """The notebooks whose files a notebook reads: those that its opening links between **Reads** and **Writes**.

    Raises StudyError if there is no such notebook.
    """
    cells = notebook_cells(NOTEBOOKS / f"{notebook}.ipynb")
    text = "".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    stated = text.partition("**Reads**")[2].partition("**Writes**")[0]
    return tuple(dict.fromkeys(re.findall(r"\]\((\w+)\.ipynb\)", stated)))


def all_notebooks() -> list[str]:
    """The names of all notebooks, in their order."""
    return [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def possible_notebooks(study: str) -> list[str]:
    """All notebooks, but without ELSEWHERE for a study on real data if no set of another clinic is there."""
    there = study_dataset(study) == "demo" or any((external_folder() / key).is_dir() for key in EXTERNAL)
    return [name for name in all_notebooks() if there or name != ELSEWHERE]
