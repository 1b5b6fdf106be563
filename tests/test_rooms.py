"""The rooms of helpers and of clinic import downwards only, in the order of their docstrings; old commands."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clinic
import helpers
from helpers.study import ROOT

PACKAGES = (helpers, clinic)
OLD_COMMANDS = {"helpers.leakage": "python -m helpers.evaluation.audit", "helpers.clinic": "python -m clinic"}
CLINIC_ONLY = {"pydicom", "pynetdicom", "highdicom", "fhir"}  # packages that nothing else needs


def rooms(package) -> list[str]:
    """The rooms of a package in the order of its docstring: the first words of the lines of its table."""
    lines = package.__doc__.split("\n\n")[1].splitlines()
    return [line.split()[0] for line in lines if not line.startswith(" ")]


def room_of(path: Path) -> str:
    """The folder of a package that a file lies in, or the file itself."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, ...]]:
    """The modules that a file imports, at its top or in a function, split at the dots, with what is taken of each."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(*(node.module or "").split("."), alias.name) for alias in node.names]
    return found


def files(package) -> list[Path]:
    """The files of a package's rooms, without those that only point to the new name of a command."""
    paths = [path for path in sorted((ROOT / package.__name__).rglob("*.py")) if not room_of(path).startswith("__")]
    return [path for path in paths if f"{package.__name__}.{room_of(path)}" not in OLD_COMMANDS]


CASES = [pytest.param(package, path, id=str(path.relative_to(ROOT))) for package in PACKAGES for path in files(package)]


@pytest.mark.parametrize(("package", "path"), CASES)
def test_a_room_imports_only_from_those_above_it(package, path):
    order, name = rooms(package), package.__name__
    imported = {names[1] for names in imports(path) if names[0] == name} - {"MAKER", "DISCLAIMER"}
    assert all(order.index(room) <= order.index(room_of(path)) for room in imported)


@pytest.mark.parametrize("path", files(helpers), ids=lambda path: str(path.relative_to(ROOT)))
def test_helpers_need_nothing_of_the_clinic(path):
    assert not {names[0] for names in imports(path)} & (CLINIC_ONLY | {"clinic"})


@pytest.mark.parametrize("path", sum(map(files, PACKAGES), []), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    """A function has at most 25 lines, without its docstring, and five parameters, three of them positional."""
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    for one in [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]:
        body = one.body[1:] if ast.get_docstring(one) and len(one.body) > 1 else one.body
        given = [each.arg for each in (*one.args.args, *one.args.kwonlyargs) if each.arg not in ("self", "cls")]
        assert len([each for each in one.args.args if each.arg not in ("self", "cls")]) <= 3, one.name
        head = one.body[0].lineno - one.lineno
        assert head + one.end_lineno - body[0].lineno + 1 <= 25 and len(given) <= 5, one.name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_stands_in_the_order(package):
    assert set(rooms(package)) == {room_of(path) for path in files(package)}


@pytest.mark.parametrize(("old", "new"), OLD_COMMANDS.items())
def test_an_old_command_prints_the_new_one(old, new):
    done = subprocess.run([sys.executable, "-m", old, "x"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"`{new}`" in done.stderr
