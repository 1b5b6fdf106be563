"""The notebooks as a reader finds them: stripped, in the style of the house, and equal to their references."""

import ast

import nbformat
import pytest

from helpers.running.report import REFERENCES
from helpers.study import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4).cells


def code_cells(path):
    return [c for c in read(path) if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", [])]


def lines(cell):
    """Lines of code, without blank ones and without sentences: what `say` or a finding shows is prose."""
    kept = cell.source.splitlines()
    for statement in ast.walk(ast.parse(cell.source)):
        if isinstance(statement, ast.Call) and ast.unparse(statement.func) in ("say", "findings.add", "findings.write"):
            kept[statement.lineno - 1 : statement.end_lineno] = [""] * (statement.end_lineno - statement.lineno + 1)
    return [line for line in kept if line.strip()]


@every_notebook
def test_sources_are_stripped(path):
    for cell in read(path):
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


@every_notebook
def test_cells_are_numbered_in_order_as_nbstripout_leaves_them(path):
    assert [cell.id for cell in read(path)] == [str(place) for place in range(len(read(path)))]


@every_notebook
def test_the_opening_says_what_is_asked_read_written_and_how_long_it_takes(path):
    title, opening = read(path)[:2]
    assert title.source.startswith(f"# {path.stem[:2]} · ")
    assert all(f"**{word}" in opening.source for word in ("Question", "Reads", "Writes", "Takes"))


@every_notebook
def test_it_closes_with_summary_limitations_and_next(path):
    prose = "\n".join(cell.source for cell in read(path) if cell.cell_type == "markdown")
    headings = [line for line in prose.splitlines() if line.startswith("## ")]
    assert headings[-3:] == ["## Summary", "## Limitations", "## Next"]


@every_notebook
def test_findings_are_written_in_the_summary(path):
    cells = read(path)
    writing = [place for place, cell in enumerate(cells) if "findings.write(" in cell.source]
    headings = [cell.source.startswith("## Summary") for cell in cells]
    if any("Findings(run)" in cell.source for cell in cells):
        assert writing == [headings.index(True) + 1]


@every_notebook
def test_parameters_are_literals_with_a_comment_each(path):
    (cell,) = [c for c in read(path) if "parameters" in c.metadata.get("tags", [])]
    for statement, line in zip(ast.parse(cell.source).body, lines(cell), strict=True):
        assert line.count("=") == 1  # papermill takes a second one for an error
        assert isinstance(statement, ast.Assign) and "  # " in line
        ast.literal_eval(statement.value)


@every_notebook
def test_cells_are_short_and_prose_is_plenty(path):
    """The site folds away cells tagged `hide-input`, which put sentences together: nobody has to read their code."""
    folded = ["hide-input" in cell.metadata.get("tags", []) for cell in code_cells(path)]
    counted = [(len(lines(cell)), fold) for cell, fold in zip(code_cells(path), folded, strict=True)]
    lengths = sorted(length for length, fold in counted if not fold)
    assert all(len(cell.source.splitlines()) <= 15 for cell in code_cells(path))
    words = sum(len(cell.source.split()) for cell in read(path) if cell.cell_type == "markdown")
    assert lengths[-1] <= 13 and lengths[len(lengths) // 2] <= 5
    assert words >= 8 * sum(lengths)


@every_notebook
def test_only_records_of_the_comparison_are_read(path):
    """The others are renewed later in a run: after a new split they would still be from the old one."""
    code = [ast.parse(cell.source) for cell in code_cells(path)]
    calls = [one for tree in code for one in ast.walk(tree) if isinstance(one, ast.Call)]
    calls = [call for call in calls if ast.unparse(call.func) == "read_records"]
    assert all({"compared": True}.items() <= {k.arg: getattr(k.value, "value", None) for k in call.keywords}.items()
               for call in calls)  # fmt: skip


@every_notebook
def test_the_reference_matches_its_source(path):
    """If this fails, the notebook was changed since its reference was made: run `make references`."""
    reference = [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in read(REFERENCES / path.name)]
    assert reference == [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in read(path)]


def test_the_readme_lists_every_notebook():
    text = (ROOT / "README.md").read_text()
    assert all(f"(notebooks/{path.name})" in text for path in NOTEBOOKS)


def test_there_is_no_reference_without_a_source():
    assert {path.name for path in REFERENCES.glob("*.ipynb")} == {path.name for path in NOTEBOOKS}


def checked_cells(path):
    """The cells of a reference whose outputs are compared: those that come out the same on every processor."""
    return [cell for cell in read(REFERENCES / path.name) if "nbval-check-output" in cell.metadata.get("tags", [])]


@every_notebook
def test_every_reference_has_something_to_check(path):
    assert checked_cells(path) and all(cell.outputs for cell in checked_cells(path))


def test_most_of_what_is_the_same_everywhere_is_compared():
    assert sum(len(checked_cells(path)) for path in NOTEBOOKS) >= 136
