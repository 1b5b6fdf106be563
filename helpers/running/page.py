"""How a text of the repository becomes a page of the site: its links, and what of a notebook is left out."""

import ast
import posixpath
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from helpers.sentences import markdown_table, pluralise
from helpers.study import ROOT

LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
PARAMETER = re.compile(r"^(\w+) = (.+?)  # (.+)$", re.MULTILINE)


class Links:
    """Where the links of a text lead on the site.

    pages: the pages by their paths in the repository, such as `docs/running.md`, with their paths on the site; files:
    other linked files, which are filled in as links are followed, to be offered for download.
    """

    def __init__(self, pages: dict[str, str]):
        self.pages = pages
        self.files: set[str] = set()

    def on_page(self, text: str, origin: str, page: str, *, is_output: bool = False) -> str:
        """A Markdown text of the folder `origin` with its links as they have to be on the page `page`.

        A link to what the site does not have, a folder for instance, becomes plain text. is_output: the text is the
        output of a cell, whose links Sphinx does not follow.
        """
        text = LINK.sub(lambda found: self._target(found[0], origin, page), text)
        if is_output:
            text = re.sub(r"(?<=\]\()(?!\w+:)([^)\s#]+)\.(md|ipynb)(?=[)#])", r"\1.html", text)
        return re.sub(r"\[([^][]*)\]\(nowhere\)", r"\1", text)

    def _target(self, target: str, origin: str, page: str) -> str:
        path, _, anchor = target.partition("#")
        anchor = "#" + re.sub(r"[^\w-]", "", anchor.lower()) if anchor else ""  # as the site names its headings
        if "://" in target or not path:
            return target if path else anchor
        path = posixpath.normpath(posixpath.join(origin, path))
        if found := self.pages.get(self._in_study(path, page)):
            return posixpath.relpath(found, posixpath.dirname(page) or ".") + anchor
        if Path(path).suffix in (".md", ".ipynb") or not (ROOT / path).is_file():
            return "nowhere"
        self.files.add(path)
        return posixpath.relpath(f"files/{path}", posixpath.dirname(page) or ".")

    def _in_study(self, path: str, page: str) -> str:
        """The executed notebook that a link to its source means: that of the page's study, or else of the first one."""
        if not path.startswith("notebooks/"):
            return path
        here, slug = f"results/{posixpath.dirname(page)}/{path}", path.partition("_")[2]
        others = [one for one in self.pages if one.startswith("results/") and one.endswith(f"_{slug}")]
        return next(iter([here] * (here in self.pages) + others), path)


def publish(notebook: NotebookNode, relink: Callable[[str], str]) -> NotebookNode:
    """An executed notebook as the site shows it.

    Its parameters become one table, links lead to pages, figures get an alternative text, and the lines that tell of
    networks read back are left out. relink: `Links.on_page` for this page.
    """
    heading, cells = "", []
    for cell in _with_one_table(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source)
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
            cells.append(cell)
        else:
            cells += _publish_code(cell, heading, relink)
    notebook.cells = cells
    return notebook


def _publish_code(cell: NotebookNode, heading: str, relink: Callable[[str], str]) -> list[NotebookNode]:
    """A code cell as the site shows it, and a Markdown cell for each output with headings, which only it can have."""
    texts, outputs = [], []
    for output in cell.outputs:
        text = output.get("data", {}).get("text/markdown", "")
        if re.search(r"^#+ ", text, re.MULTILINE):
            texts.append(new_markdown_cell(relink(text)))
            continue
        if text:
            output.data["text/markdown"] = relink(text, is_output=True)
        outputs.append(output)
    cell.outputs = outputs
    _describe_figure(cell, heading)
    return [cell, *texts]


def _with_one_table(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells with one table in place of the cell of defaults and the one of this study's values."""
    tags = [cell.metadata.get("tags", []) for cell in cells]
    defaults = next((place for place, names in enumerate(tags) if "parameters" in names), None)
    if defaults is None:
        return cells
    given = {}
    for cell, names in zip(cells, tags, strict=True):
        if "injected-parameters" in names:
            lines = [line for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)]
            given = {line.targets[0].id: ast.unparse(line.value) for line in lines}
    table = new_markdown_cell(parameter_table(cells[defaults].source, given))
    kept = [cell for cell, names in zip(cells, tags, strict=True) if "injected-parameters" not in names]
    kept[kept.index(cells[defaults])] = table
    return kept


def parameter_table(source: str, given: dict[str, str]) -> str:
    """The parameters of a run, folded away: name, value, meaning, and the default where it was changed.

    source: the cell tagged `parameters`; given: Python code of the values that the study sets.
    """
    rows, changed = [], 0
    for name, default, meaning in PARAMETER.findall(source):
        value = given.get(name, default)
        differs = ast.literal_eval(value) != ast.literal_eval(default)
        changed += differs
        rows.append([f"`{name}`", f"`{value}`", escape(meaning), f"`{default}`" if differs else "unchanged"])
    title = f"{pluralise(len(rows), 'parameter')} of this run, {changed} not at the default"
    table = markdown_table(["name", "value", "meaning", "default"], rows)
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _describe_figure(cell: NotebookNode, heading: str) -> None:
    """Give a figure its alternative text: what the run wrote beside it, or else the section that it belongs to."""
    texts = [
        output.metadata.get("image/png", {}).get("alt", f"Figure of the section {heading}")
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    if texts:
        cell.metadata["mystnb"] = {"image": {"alt": " ".join(dict.fromkeys(texts))}}
