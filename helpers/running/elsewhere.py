"""The figures of other clinics as a table, for README.md and the model card."""

from pathlib import Path

from helpers.evaluation.external import METRICS, figure_of
from helpers.reading import read_csv
from helpers.records import RESTORE
from helpers.sentences import markdown_table, with_interval
from helpers.study import ROOT, load_study

EXTERNAL = Path("15_external_validation") / "external.csv"
SHOWN = ("balanced_accuracy", "macro_auc", "malignant_auc", "malignant_sensitivity", "malignant_specificity")


def elsewhere_table(folder: Path, link: str) -> str:
    """The best model on validation at other clinics beside the internal test, in Markdown; empty without EXTERNAL.

    folder: results of a study; link: to its executed notebook 15.
    """
    if not (folder / EXTERNAL).is_file():
        return ""
    table = read_csv(folder / EXTERNAL, RESTORE)
    best = table[table["model"] == table["model"].iloc[0]].set_index(["set", "metric"])
    names = best.index.unique("set")
    rows = [
        [name, f"{best.loc[(name, 'malignant_auc'), 'images']:,}"]
        + [with_interval(figure_of(best.loc[(name, metric)])) for metric in SHOWN]
        for name in names
    ]
    header = [best["model"].iloc[0], "images", *[METRICS[metric] for metric in SHOWN]]
    note = (
        "The published file of the model that is best on validation, with its fixed threshold, on images of other "
        f"clinics ([15_external_validation]({link})). Balanced accuracy and macro AUC are means over the diagnoses in "
        "a set."
    )
    copies = load_study(ROOT / "studies" / f"{folder.name}.yaml").get("copies", "")
    return f"{markdown_table(header, rows)}\n\n{' '.join([note, copies]).strip()}"
