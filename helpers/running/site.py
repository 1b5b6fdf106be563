"""The site of the published studies: `python -m helpers.running.report pages` builds it with Sphinx.

Its pages are the executed notebooks, model cards, docs/ and data/README.md. What says a number is put together from the
results when the site is built.
"""

import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import nbformat

from helpers.records import write_text
from helpers.running.inserts import inserts
from helpers.running.model_card import CARD
from helpers.running.notebooks import all_notebooks
from helpers.running.page import Links, publish
from helpers.running.tables import (
    NOT_RUN,
    ON_PAGE,
    answer_of,
    answers,
    first_with,
    pages_of,
    published_studies,
    results_tables,
)
from helpers.study import ROOT, StudyError, build_folder, results_folder

PACKAGES = ("sphinx", "myst_nb", "sphinx_book_theme")
TEXTS = {"data/README.md": "data.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Each part of the report begins with the notebook of this name and goes on to the next part.
PARTS = {
    "Data and networks": "eda",
    "How far to trust them": "model_comparison",
    "From model to use": "prediction",
}
# Pages of docs/ and TEXTS in the order of the contents, model cards apart. Further pages of docs/ follow those of use.
CONTENTS = {
    "Reference": ["methods", "data", "datasheet", "reporting", "glossary", "references"],
    "Use it": ["running", "clinic"],
    "Change it": ["contributing", "changelog"],
}


def build_site(study: str) -> Path:
    """Build the site of all published studies and of `study` in build/<study>/report/; returns its front page.

    Raises StudyError if no notebook was executed, packages are missing, or Sphinx warns of anything.
    """
    if missing := [name for name in PACKAGES if not find_spec(name)]:
        remedy = "Run `$(make -s python) -m pip install -r requirements-docs.txt`"
        raise StudyError(f"Packages for the site are not installed: {', '.join(missing)}. {remedy}.")
    from sphinx.cmd.build import build_main

    source, target = build_folder(study) / "site", build_folder(study) / "report"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    write_source(source, study)
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(ROOT / "docs")]
    if build_main([*options, "--doctree-dir", str(source / ".doctrees"), str(source), str(target)]):
        raise StudyError(f"{source}: Sphinx warns of its pages; the warnings are above. Mend the text that they name.")
    return target / "index.html"


def write_source(folder: Path, study: str) -> None:
    """Write the pages that Sphinx reads. Raises StudyError if neither `study` nor a published one has a notebook."""
    studies = _studies(study)
    links = Links(_pages(studies))
    parts = _texts(studies)
    for path, page in links.pages.items():
        if path.startswith("results/"):
            _write_result(folder, path, links)
        elif path != "README.md":
            text = links.on_page((ROOT / path).read_text(encoding="utf-8"), str(Path(path).parent), page)
            for name, part in parts.items():
                text = text.replace(f"<!-- {name} -->", links.on_page(part, ".", page))
            write_text(folder / page, text)
    for path in links.files:
        (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / "files" / path)


def _studies(study: str) -> dict[str, str]:
    """The studies of the site with their titles: the published ones and `study`, as far as they have notebooks."""
    found = {name: dataset for dataset, name in published_studies(results_folder(study).parent).items()}
    found.setdefault(study, f"Study {study}")
    found = {name: title for name, title in found.items() if pages_of(results_folder(name))}
    if not found:
        raise StudyError(f"{results_folder(study)}: no executed notebooks. Run `make all STUDY={study}` first.")
    return found


def _pages(studies: dict[str, str]) -> dict[str, str]:
    """The path on the site of each page, by its path in the repository. README.md is a part of the front page."""
    pages = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    pages |= TEXTS | {"README.md": "index.md"}
    for study in studies:
        names = [f"{name}.ipynb" for name in pages_of(results_folder(study))]
        pages |= {f"results/{study}/notebooks/{name}": f"{study}/{name}" for name in names}
        if _has_card(study):
            pages[f"results/{study}/{CARD}"] = f"{study}/model_card.md"
    return pages


def _has_card(study: str) -> bool:
    return (results_folder(study) / CARD).is_file()


def _write_result(folder: Path, path: str, links: Links) -> None:
    """Write the page of an executed notebook or of a model card."""
    _, study, *rest = path.split("/")
    page, file = links.pages[path], results_folder(study).joinpath(*rest)
    if file.suffix == ".md":
        write_text(folder / page, links.on_page(file.read_text(encoding="utf-8"), f"results/{study}", page))
        return
    relink = partial(links.on_page, origin="notebooks", page=page)
    notebook = publish(nbformat.read(file, as_version=4), relink)
    (folder / page).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / page)


def notebooks_of(part: str) -> list[str]:
    """The names of the notebooks of a part. Raises StudyError if the notebook that begins it is not there."""
    names = all_notebooks()
    starts = {title: place for title, slug in PARTS.items() for place, name in enumerate(names) if name[3:] == slug}
    if missing := PARTS.keys() - starts.keys():
        raise StudyError(f"helpers/running/site.py: no notebook begins the part {missing}. Mend PARTS.")
    later = [place for place in starts.values() if place > starts[part]]
    return names[starts[part] : min(later, default=None)]


def _texts(studies: dict[str, str]) -> dict[str, str]:
    """The texts that take the place of comments such as `<!-- answers -->`, with links as in README.md."""
    main, *others = folders = [results_folder(study) for study in studies]
    first = {name: first_with(name, folders) for name in all_notebooks()}
    found = [f"### {part}\n\n{answers({name: first[name] for name in notebooks_of(part)})}" for part in PARTS]
    for folder in others:
        answered = [name for name in first if answer_of(folder, name) not in (NOT_RUN, ON_PAGE)]
        if run := {name: folder for name in answered if first[name] != folder}:
            found.append(f"### {studies[folder.name]}\n\n{answers(run)}")
    head = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return inserts(list(studies)) | {
        "thesis": "\n".join(line for line in head.splitlines() if not line.startswith(("[![", "<!--"))),
        "answers": "\n\n".join(found),
        "results": results_tables(main.parent),
        "contents": _contents(studies),
    }


def _contents(studies: dict[str, str]) -> str:
    """The contents of the site, as MyST writes them."""
    run = {study: [f"{study}/{name}" for name in pages_of(results_folder(study))] for study in studies}
    folders, pages = [results_folder(study) for study in studies], sum(run.values(), [])
    first = {part: [f"{first_with(name, folders).name}/{name}" for name in notebooks_of(part)] for part in PARTS}
    trees = {part: [page for page in named if page in pages] for part, named in first.items()}
    placed = sum(trees.values(), [])
    trees |= {studies[study]: [page for page in run[study] if page not in placed] for study in studies}
    cards = [f"Model card: {title} <{study}/model_card>" for study, title in studies.items() if _has_card(study)]
    named = ["index", *sum(CONTENTS.values(), [])]
    further = [path.stem for path in sorted((ROOT / "docs").glob("*.md")) if path.stem not in named]
    trees |= {"Reference": cards + CONTENTS["Reference"], "Use it": CONTENTS["Use it"] + further}
    trees["Change it"] = CONTENTS["Change it"]
    lines = [[f"```{{toctree}}\n:hidden:\n:caption: {part}\n", *pages, "```"] for part, pages in trees.items() if pages]
    return "\n\n".join("\n".join(one) for one in lines)
