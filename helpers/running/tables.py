"""The tables of README.md and of the site's front page: questions with their answers, and the figures of the models."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers.data.lesions import COLLECTIONS
from helpers.evaluation.seeds import seed_figures
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE, read_records
from helpers.running.elsewhere import EXTERNAL, elsewhere_table
from helpers.running.notebooks import all_notebooks
from helpers.sentences import join, markdown_table, with_interval
from helpers.study import ROOT, asked_question, load_study

# The studies of each dataset that are shown once their models have been compared, the one that leads first.
PUBLISHED = {"HAM10000": ("ham10000", "ham10000_cpu"), "ISIC 2019": ("isic2019", "isic2019_cpu")}
LAST_TABLE = Path("07_model_comparison") / "comparison.csv"
LEAD = LAST_TABLE.parent / "figures" / "balanced_accuracy.png"
SUMMARY = Path("01_eda") / "dataset.json"
COLUMNS = {
    "balanced accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "macro AUC": "macro_auc",
    "AUC, malignant": "malignant_auc",
}
# The notebooks whose answers README.md begins with, whatever their numbers.
FIRST = ("leakage", "cnn_lstm", "external_validation")
NUMBERS = re.compile(r" \([^()]*\d[^()]*\)")
NOT_RUN = "*Not yet run.*"
ON_PAGE = "*Its page has the answer.*"  # of a notebook that ran before answers were collected


def published_studies(results: Path) -> dict[str, str]:
    """The published studies by title: `{"HAM10000": "ham10000", "HAM10000 at 112 px": "ham10000_cpu", …}`.

    A dataset is named with its collections of which the study had no image: `ISIC 2019, without BCN_20000`. Where it
    has several studies, the later ones are named with their image size.
    """
    found = {}
    for dataset, studies in PUBLISHED.items():
        for name in (name for name in studies if (results / name / LAST_TABLE).is_file()):
            absent = join(absent_collections(results / name), "")
            title = f"{dataset}, without {absent}" if absent else dataset
            found[f"{title} at {_side(name)} px" if title in found else title] = name
    return found


def _side(study: str) -> int:
    return load_study(ROOT / "studies" / f"{study}.yaml")["side"]


def absent_collections(folder: Path) -> list[str]:
    """The collections of a study's dataset of which it had no image. folder: results of the study."""
    path = folder / SUMMARY
    summary = read_json(path, RESTORE) if path.is_file() else {}
    there = summary.get("images_by_source")
    return [name for name in COLLECTIONS.get(summary.get("dataset"), ()) if there and name not in there]


def pages_of(folder: Path) -> list[str]:
    """The names of the executed notebooks in the results of a study, in their order."""
    return sorted(path.stem for path in folder.glob("notebooks/*.ipynb"))


def answer_of(folder: Path, notebook: str) -> str:
    """The answer that a notebook gave in a study, else ON_PAGE or NOT_RUN. folder: results of the study."""
    path = folder / notebook / "findings.json"
    if path.is_file():
        return read_json(path, RESTORE)["answer"]
    return ON_PAGE if (folder / "notebooks" / f"{notebook}.ipynb").is_file() else NOT_RUN


def first_with(notebook: str, folders: Sequence[Path]) -> Path:
    """The results of the first study that ran a notebook; of the first study if none did. folders: of the studies."""
    return next((folder for folder in folders if answer_of(folder, notebook) != NOT_RUN), folders[0])


def _folders(results: Path) -> list[Path]:
    """The results of the published studies; of the demo if none is published."""
    return [results / study for study in published_studies(results).values() or ["demo"]]


def question_index(results: Path) -> str:
    """The notebooks with their questions, the answers of the first study that ran them, and a link for each dataset.

    results: folder of all results, as for the other tables here.
    """
    dataset_of = {study: dataset for dataset, studies in PUBLISHED.items() for study in studies}
    studies, rows = published_studies(results), []
    for name in all_notebooks():
        path, links = f"notebooks/{name}.ipynb", {}
        for title, study in studies.items():
            if name in pages_of(results / study):
                links.setdefault(dataset_of[study], f"[{title}](results/{study}/{path})")
        answer = answer_of(first_with(name, _folders(results)), name)
        question = _in_cell(f"**{asked_question(ROOT / path)}** {answer}")
        rows.append([f"[{name}]({path})", question, ", ".join(links.values())])
    return markdown_table(["notebook", "question and answer", "rendered"], rows)


def first_findings(results: Path) -> str | None:
    """The questions of FIRST with the answers of the first study that ran each; None unless all were answered.

    Numbers in brackets are left to the index. An answer that is not the leading study's has its image size.
    """
    names = [name for slug in FIRST for name in all_notebooks() if name.partition("_")[2] == slug]
    lines, (leading, *_) = [], _folders(results)
    for name in names:
        folder, path = first_with(name, _folders(results)), f"notebooks/{name}.ipynb"
        answer = answer_of(folder, name)
        if answer in (NOT_RUN, ON_PAGE):
            return None
        size = "" if folder == leading else f", at {_side(folder.name)} px"
        link = f"[{name}](results/{folder.name}/{path}){size}"
        lines.append(f"- **{asked_question(ROOT / path)}** {NUMBERS.sub('', answer)} ({link})")
    return "\n".join(lines)


def first_screen(results: Path) -> str | None:
    """`first_findings`, and the figure with the models of the first published study with its answer, in Markdown."""
    findings, alternative = first_findings(results), "Balanced accuracy of each model with its 95 % interval"
    folder, notebook = _folders(results)[0], LEAD.parts[0]
    answer = f"{answer_of(folder, notebook)} ([{notebook}](results/{folder.name}/notebooks/{notebook}.ipynb))"
    return findings and f"{findings}\n\n![{alternative}](results/{folder.name}/{LEAD})\n\n{answer}"


def answers(folders: Mapping[str, Path]) -> str:
    """The questions of some notebooks, each a link to its page, with their answers.

    folders: by name of the notebook, the results of the study whose answer is shown.
    """
    rows = []
    for name, folder in folders.items():
        path = f"notebooks/{name}.ipynb"
        link = f"[{asked_question(ROOT / path)}](results/{folder.name}/{path})"
        rows.append([link, _in_cell(answer_of(folder, name))])
    return markdown_table(["question", "answer"], rows)


def _in_cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def headline(results: Path) -> str:
    """The first of `results_tables`, and where the others are."""
    first, *others = published_studies(results).items() or [("", "")]
    if not first[1]:
        return "No results are published yet."
    cards = [f"[{dataset}](results/{study}/MODEL_CARD.md)" for dataset, study in others]
    also = f"The model cards have more scores, also for {join(cards)}; the site has all tables." if cards else ""
    return "\n\n".join(filter(None, (_results_table(first[0], results / first[1]), also)))


def results_tables(results: Path) -> str:
    """For each dataset, the diagnosis models of its published study, and the best of them at other clinics."""
    tables = [_results_table(dataset, results / study) for dataset, study in published_studies(results).items()]
    return "\n\n".join(tables) or "No results are published yet."


def _results_table(dataset: str, folder: Path) -> str:
    """The models of one study, best balanced accuracy first. folder: its results."""
    study, records = folder.name, read_records(folder, compared=True)
    records = [record for record in records if record["task"] == "diagnosis"]
    first, seeds = records[0], seed_figures(folder)
    records = sorted(records + _ensemble(folder), key=lambda record: -record["test"]["balanced_accuracy"]["value"])
    rows = []
    for record in records:
        link = f"[{record['name']}](results/{study}/notebooks/{record['notebook']}.ipynb)"
        figures = {kind: seeds.get((record["name"], kind)) for kind in ("mean", "ensemble")}
        shown = {f"{link}, {kind} of {one['runs']} trainings": one for kind, one in figures.items() if one}
        for label, one in (shown or {link: record["test"]}).items():
            rows.append([label, *(with_interval(one[key]) for key in COLUMNS.values())])
    caption = f"Study [`{study}`](studies/{study}.yaml): {first['split']['test']:,} test images of lesions that "
    caption += "no model was trained or chosen on. In brackets: 95 % bootstrap intervals, resampled by lesion."
    if seeds:
        caption += " The interval of a mean over trainings also covers its seeds."
    if missing := first.get("missing_images", 0):
        caption += f" {missing:,} images that the publisher lists were missing."
    elsewhere = elsewhere_table(folder, f"results/{study}/notebooks/{EXTERNAL.parent}.ipynb")
    return "\n\n".join(filter(None, (markdown_table([dataset, *COLUMNS], rows), caption, elsewhere)))


def _ensemble(folder: Path) -> list[dict]:
    """The ensemble of all networks, which only LAST_TABLE has, like a record; empty where it has none."""
    table = read_csv(folder / LAST_TABLE, RESTORE).set_index("model")
    if "ensemble" not in table.index:
        return []
    row, ends = table.loc["ensemble"], {"value": "", "low": "_low", "high": "_high"}
    test = {key: {end: row[f"{key}{suffix}"] for end, suffix in ends.items()} for key in COLUMNS.values()}
    return [{"name": "ensemble of all networks", "notebook": LAST_TABLE.parent.name, "test": test}]
