"""The rooms of helpers and of clinic import downwards only, in the order that their docstrings give."""

import ast
from pathlib import Path

import pytest

import helpers
from helpers.study import ROOT

CLINIC_ONLY = {"pydicom", "highdicom", "fhir", "voila", "ipywidgets"}  # packages that nothing else needs


def rooms(package) -> list[str]:
    """The rooms of a package in the order of its docstring: the indented or tabulated first words of its lines."""
    return [line.split()[0] for line in package.__doc__.splitlines()[2:] if line and not line.startswith(" ")]


def imports(path: Path) -> list[tuple[str, ...]]:
    """The modules that a file imports, at its top or in a function, split at the dots, with what is taken of each."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(*(node.module or "").split("."), alias.name) for alias in node.names]
    return found


def modules(package) -> list[Path]:
    return sorted(
        path
        for path in (ROOT / package.__name__).rglob("*.py")
        if path.parent != ROOT / "helpers" or path.stem in rooms(helpers)
    )


@pytest.mark.parametrize("path", modules(helpers), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_those_above_it(path):
    order, room = rooms(helpers), path.relative_to(ROOT / "helpers").parts[0].removesuffix(".py")
    imported = {names[1] for names in imports(path) if names[0] == "helpers" and len(names) > 1}
    assert all(order.index(name) <= order.index(room) for name in imported)
    assert not {names[0] for names in imports(path)} & (CLINIC_ONLY | {"clinic"})


def test_every_room_stands_in_the_order():
    found = {
        path.relative_to(ROOT / "helpers").parts[0].removesuffix(".py") for path in (ROOT / "helpers").rglob("*.py")
    }
    assert set(rooms(helpers)) == found - {"__init__"}


CLINIC_ORDER = ["quality", "pictures", "dicom", "worker", "intake", "deployment", "codes", "prediction", "maps"]
CLINIC_ORDER += ["pages", "structured", "fhir", "outputs", "example", "command", "app"]


@pytest.mark.parametrize("path", sorted((ROOT / "clinic").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_module_of_the_clinic_imports_only_from_below(path):
    beside = {names[1] for names in imports(path) if names[0] == "clinic" and names[1] in CLINIC_ORDER}
    assert all(CLINIC_ORDER.index(name) < CLINIC_ORDER.index(path.stem) for name in beside)
