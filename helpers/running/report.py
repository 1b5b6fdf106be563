"""Reports on finished runs: web pages, the tables of README.md, model cards, and references for the tests.

`python -m helpers.running.report readme` writes the tables of README.md from the run records. With `--check` it only
says whether they are up to date. `python -m helpers.running.report verify` compares a fresh run of a study with its
published records.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from helpers.evaluation.seeds import seed_figures
from helpers.records import atomic_path, read_records
from helpers.running.elsewhere import elsewhere_table
from helpers.running.model_card import write_card
from helpers.running.verification import print_verification
from helpers.sentences import markdown_table, with_interval
from helpers.study import ROOT, StudyError, build_folder, exit_code, results_folder

README = ROOT / "README.md"
REFERENCES = ROOT / "tests" / "references"
BEGIN, END = "<!-- results: written by `make report`, do not edit -->", "<!-- end of results -->"
# For each dataset, README shows the first of these studies whose models have been compared.
PUBLISHED = {"HAM10000": ("ham10000", "ham10000_cpu"), "ISIC 2019": ("isic2019", "isic2019_cpu")}
LAST_TABLE = Path("07_model_comparison") / "comparison.csv"
COLUMNS = {
    "balanced accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "macro AUC": "macro_auc",
    "AUC, malignant": "malignant_auc",
}


def write_pages(study: str) -> Path:
    """Write the executed notebooks of a study as HTML in build/<study>/report/; returns the path of the index.

    Raises StudyError if the study has no executed notebook.
    """
    notebooks = sorted((results_folder(study) / "notebooks").glob("*.ipynb"))
    if not notebooks:
        raise StudyError(f"{results_folder(study)}: no executed notebooks. Run `make all STUDY={study}` first.")
    folder = build_folder(study) / "report"
    items = []
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        page, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})
        with atomic_path(folder / f"{path.stem}.html") as temporary:
            # Links between notebooks become links between pages.
            temporary.write_text(page.replace('.ipynb"', '.html"'), encoding="utf-8")
        title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        items.append(f'<li><a href="{path.stem}.html">{title}</a></li>')
    with atomic_path(folder / "index.html") as temporary:
        heading = f"<!doctype html><meta charset='utf-8'><title>Study {study}</title><h1>Study {study}</h1>"
        temporary.write_text(f"{heading}<ol style='list-style: none'>{''.join(items)}</ol>\n", encoding="utf-8")
    return folder / "index.html"


def results_tables() -> str:
    """One Markdown table per dataset, with the diagnosis models of its published study."""
    tables = []
    for dataset, studies in PUBLISHED.items():
        if study := next((name for name in studies if (ROOT / "results" / name / LAST_TABLE).is_file()), None):
            tables.append(_results_table(dataset, study))
    return "\n\n".join(tables) or "No results are published yet."


def _results_table(dataset: str, study: str) -> str:
    """The models of one study, best balanced accuracy first."""
    records = read_records(ROOT / "results" / study, compared=True)
    records = [record for record in records if record["task"] == "diagnosis"]
    records.sort(key=lambda record: -record["test"]["balanced_accuracy"]["value"])
    seeds, rows = seed_figures(ROOT / "results" / study), []
    for record in records:
        link = f"[{record['name']}](results/{study}/notebooks/{record['notebook']}.ipynb)"
        figures = {kind: seeds.get((record["name"], kind)) for kind in ("mean", "ensemble")}
        shown = {f"{link}, {kind} of {one['runs']} trainings": one for kind, one in figures.items() if one}
        for label, one in (shown or {link: record["test"]}).items():
            rows.append([label, *(with_interval(one[key]) for key in COLUMNS.values())])
    first = records[0]
    caption = f"Study [`{study}`](studies/{study}.yaml): {first['split']['test']:,} test images of lesions that "
    caption += "no model was trained or chosen on. In brackets: 95 % bootstrap intervals, resampled by lesion."
    if seeds:
        caption += " Those of a mean over trainings cover its seeds, too."
    if missing := first.get("missing_images", 0):
        caption += f" {missing:,} images that the publisher lists were missing."
    notebook = f"results/{study}/notebooks/15_external_validation.ipynb"
    elsewhere = elsewhere_table(ROOT / "results" / study, notebook)
    return "\n\n".join(filter(None, (markdown_table([dataset, *COLUMNS], rows), caption, elsewhere)))


def write_readme(check: bool = False) -> bool:
    """Update the tables of README.md; returns whether they were already up to date. With `check`, write nothing."""
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise StudyError(f"{README}: the lines {BEGIN!r} and {END!r} around the tables are missing. Put them back.")
    head, _, rest = text.partition(BEGIN)
    fresh = f"{head}{BEGIN}\n\n{results_tables()}\n\n{END}{rest.partition(END)[2]}"
    if fresh != text and not check:
        with atomic_path(README) as temporary:
            temporary.write_text(fresh, encoding="utf-8")
    return fresh == text


def write_references(executed: Path) -> None:
    """Copy executed demo notebooks to the test references, without images, which are not compared."""
    for path in sorted(Path(executed).glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            output.get("data", {}).pop("image/png", None)
        with atomic_path(REFERENCES / path.name) as temporary:
            nbformat.write(notebook, temporary)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.running.report", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pages", help="web pages of a study").add_argument("--study", default="demo")
    commands.add_parser("readme", help="the tables of README.md").add_argument("--check", action="store_true")
    commands.add_parser("card", help="the model card of a study").add_argument("--study", default="demo")
    verify = commands.add_parser("verify", help="a fresh run compared with the published records of a study")
    verify.add_argument("fresh", type=Path, help="results folder of the fresh run")
    verify.add_argument("--study", default="ham10000")
    commands.add_parser("references", help="references of the tests").add_argument("folder", type=Path)
    return parser


def run(options: argparse.Namespace) -> bool:
    """Do what the command line asks for; returns False if a fresh run does not reproduce the published figures."""
    if options.command == "pages":
        print(f"The report: {write_pages(options.study)}")
    elif options.command == "card":
        print(f"The model card: {write_card(options.study)}")
    elif options.command == "references":
        write_references(options.folder)
    elif options.command == "verify":
        return print_verification(options.study, options.fresh)
    elif not write_readme(options.check) and options.check:
        raise StudyError("The tables of README.md are stale. Run `make report`.")
    return True


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = command_line().parse_args(arguments)
    return exit_code(lambda: not run(options))


if __name__ == "__main__":
    sys.exit(main())
