"""What pages of docs/ take from the results and the code when the site is built, as Markdown."""

from html import escape

import nbformat
import pandas as pd
import yaml

from helpers.running.page import PARAMETER
from helpers.sentences import markdown_table
from helpers.study import ROOT, load_study, results_folder


def inserts(studies: list[str]) -> dict[str, str]:
    """The texts that take the place of comments such as `<!-- parameters -->` in docs/, by name.

    studies: those of the site.
    """
    return {
        "citation": citation(),
        "composition": "\n\n".join(filter(None, map(composition, studies))),
        "parameters": study_parameters(studies),
        "recipe": "\n\n".join(filter(None, map(recipe_trials, studies))),
    }


def study_parameters(studies: list[str]) -> str:
    """A table of what the files of some studies set: name, meaning, and the value in each study."""
    meanings = {}
    for path in sorted(
        (ROOT / "notebooks").glob("*.ipynb"), reverse=True
    ):  # the first that has a parameter explains it
        cells = nbformat.read(path, as_version=4).cells
        (source,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        meanings |= {name: escape(meaning) for name, _, meaning in PARAMETER.findall(source)}
    files = [ROOT / "studies" / f"{study}.yaml" for study in studies]
    given = {path.stem: load_study(path) for path in files if path.is_file()}
    names = dict.fromkeys(name for values in given.values() for name in values if name in meanings)
    shown = {name: [str(values.get(name, "default")).replace("'", "") for values in given.values()] for name in names}
    return markdown_table(
        ["parameter", *given, "meaning"], [[f"`{name}`", *shown[name], meanings[name]] for name in names]
    )


def composition(study: str) -> str:
    """A table of the images and lesions of each diagnosis in each part of a study's split; empty without a split."""
    file = results_folder(study) / "split.csv"
    if not file.is_file():
        return ""
    split = pd.read_csv(file, dtype=str)
    images = pd.crosstab(split["label"], split["part"])[["train", "validation", "test"]]
    table = images.assign(images=images.sum(axis=1), lesions=split.groupby("label")["lesion_id"].nunique())
    table.loc["all"] = [*table.drop(columns="lesions").sum(), split["lesion_id"].nunique()]
    rows = [[label, *[f"{count:,}" for count in counts]] for label, *counts in table.itertuples()]
    return f"**Study `{study}`**\n\n{markdown_table(['diagnosis', *table.columns], rows)}"


def recipe_trials(study: str) -> str:
    """The trials behind a study's recipe and what validation said of each, from its recipe.csv; empty without one."""
    file = results_folder(study) / "recipe.csv"
    if not file.is_file():
        return ""
    table = pd.read_csv(file, dtype=str)
    return f"**Study `{study}`**\n\n{markdown_table(list(table), table.to_numpy().tolist())}"


def citation() -> str:
    """The entry of CITATION.cff as BibTeX."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    names = [one.get("name") or f"{one['family-names']}, {one['given-names']}" for one in cited["authors"]]
    fields = {"title": cited["title"], "author": f"{{{' and '.join(names)}}}", "version": cited["version"]}
    fields |= {name: str(cited[key]) for name, key in (("url", "repository-code"), ("doi", "doi")) if key in cited}
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items()]
    return "\n".join(["```bibtex", "@software{skin_lesion_study,", *lines, "}", "```"])
