"""The parameters and folders of a study."""

import ast
import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DISCLAIMER = (
    "For education and research. Not a medical device: this is not a diagnosis. Do not treat anybody, or leave anybody "
    "untreated, because of it."
)


class _Loader(yaml.SafeLoader):
    """Reads 3e-4 as a number, as YAML 1.2 does; PyYAML follows YAML 1.1 and reads it as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


# The values that a number may have where its type does not say enough, by the names of parameters. A list has at least
# one number, and each is within the range.
RANGES = (
    ("at least 1", lambda value: value >= 1, """arrivals augmentation_epochs batch_size cells claim_epochs
     deletion_steps dense_units depth epochs explained_images filters fine_tuning_epochs fold_epochs frozen_epochs
     head_epochs history_batch_size history_epochs history_units leakage_epochs lstm_units path_steps patience
     per_class resamples sampled sampled_images scratch_epochs stride trial_epochs trials tuned_epochs
     unknown_epochs workers"""),
    ("1 or 8", lambda value: value in (1, 8), "views"),
    ("0 or more", lambda value: value >= 0, "devices large_epochs steps weight_decay"),
    ("0 or more and below 2**32", lambda value: 0 <= value < 2**32, """augmentation_seeds history_seeds seed seeds
     split_seed tuned_seeds"""),
    ("at least 8 pixels and at most 2048", lambda value: 8 <= value <= 2048, "side"),
    ("above 0 and at most 10", lambda value: 0 < value <= 10, """alpha augmentation_learning_rate claim_size
     fine_tuning_rate history_learning_rate leakage_learning_rate learning_rate unknown_learning_rate zooms"""),
    ("above 0 and at most 1", lambda value: 0 < value <= 1, "fractions patch patch_stride"),
    ("above 0 and below 1", lambda value: 0 < value < 1, "coverage sensitivity unlike"),
    ("0 or more and below 1", lambda value: 0 <= value < 1, "dropout ema label_smoothing"),
)  # fmt: skip


class StudyError(Exception):
    """A mistake that the user can correct. The message says what is wrong, where, and what to do."""


def exit_code(work: Callable[[], int | None]) -> int:
    """The exit code of a command that does `work`: what it returns, or 0; 1 for an error that the user can correct.

    Such an error, and an interruption (code 130), is told in a line.
    """
    try:
        return work() or 0
    except StudyError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        remedy = "" if isinstance(error, FileNotFoundError) else " Free space or permit writing there, and run again."
        print(f"{error.filename or 'A file'}: {error.strerror or error}.{remedy}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped. The same command continues.", file=sys.stderr)
        return 130
    return 1


def build_folder(study: str) -> Path:
    """Folder for a study's intermediate files, ignored by git: below the environment variable BUILD_DIR, or build/."""
    return Path(os.environ.get("BUILD_DIR", ROOT / "build")) / study


def results_folder(study: str) -> Path:
    """Folder for a study's results: below the environment variable RESULTS_DIR, or results/."""
    return Path(os.environ.get("RESULTS_DIR", ROOT / "results")) / study


def load_study(path: Path) -> dict:
    """Read a study file. Raises StudyError unless it is a flat mapping whose `study` is the file's name."""
    path = Path(path)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (ROOT / "studies").glob("*.yaml")))
        raise StudyError(f"{path}: no such study file. Known studies: {known}.")
    try:
        parameters = parse_value(path.read_text())
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    if not isinstance(parameters, dict) or any(isinstance(value, dict) for value in parameters.values()):
        raise StudyError(f"{path}: not a study file. Write one `name: value` per line, without nesting.")
    if parameters.get("study") != path.stem:
        raise StudyError(f"{path}: `study` is {parameters.get('study')!r}. Set it to the file's name, {path.stem}.")
    return parameters


def parse_value(text: str) -> object:
    """Parse YAML, such as `5`, `3e-4`, `true`, `[16, 32]` or text. Raises StudyError if it is not valid."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise StudyError(f"not valid YAML: {error}") from error


def notebook_cells(notebook: Path) -> list[dict]:
    """The cells of a notebook, each with its source as one text. Raises StudyError if it is missing or damaged."""
    if not Path(notebook).is_file():
        known = ", ".join(path.stem for path in sorted(Path(notebook).parent.glob("*.ipynb")))
        raise StudyError(f"{notebook}: no such notebook. Known notebooks: {known}.")
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        return [cell | {"source": "".join(cell["source"])} for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{notebook}: not a notebook, or cut short. Restore it with `git checkout`.") from error


def declared_parameters(notebook: Path) -> dict:
    """Names and defaults in the notebook cell tagged `parameters`. Raises StudyError unless there is exactly one."""
    tagged = [cell["source"] for cell in notebook_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(f"{notebook}: {len(tagged)} cells are tagged `parameters`. Tag exactly one.")
    assignments = [line for line in ast.parse(tagged[0]).body if isinstance(line, ast.Assign)]
    return {line.targets[0].id: ast.literal_eval(line.value) for line in assignments}


def asked_question(notebook: Path) -> str:
    """The question of a notebook's opening cell. Raises StudyError if it asks none."""
    for cell in notebook_cells(notebook):
        if found := re.search(r"\*\*Question\.\*\* (.+)", cell["source"]):
            return found[1].strip()
    raise StudyError(f"{notebook}: no question. Begin a paragraph of the opening cell with `**Question.**`.")


def check_parameters(given: dict, declared: dict, where: str) -> None:
    """Raise StudyError if a parameter is not declared, has another type than its default, or is not in its RANGES.

    An int is accepted for a float. List elements must have the type of the first element of the default list.
    """
    for name, value in given.items():
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known parameters: {', '.join(sorted(declared))}."
            raise StudyError(f"{where}: unknown parameter {name!r}. {hint}")
        if not _same_type(value, declared[name]):
            expected = f"{type(declared[name]).__name__}, like {declared[name]!r}"
            raise StudyError(f"{where}: parameter {name} is {value!r}; it must be {expected}.")
        for words, is_within, names in RANGES:
            values = value if isinstance(value, list) else [value]
            if name in names.split() and not (values and all(map(is_within, values))):
                raise StudyError(f"{where}: parameter {name} is {value!r}; it must be {words}.")


def _same_type(value: object, default: object) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and all(_same_type(item, default[0]) for item in value if default)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Raise StudyError unless `value` is in `known`."""
    if value not in known:
        raise StudyError(f"{name} {value!r}: choose one of {', '.join(known)}.")
