"""The figures of other clinics as a table, for README.md and the model card."""

from pathlib import Path

import pandas as pd

from helpers.data.external import EXTERNAL as SETS
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
    best = _best(folder)
    rows = [
        [name, _images(best, name)] + [with_interval(figure_of(best.loc[(name, metric)])) for metric in SHOWN]
        for name in best.index.unique("set")
    ]
    header = [best["model"].iloc[0], "images", *[METRICS[metric] for metric in SHOWN]]
    note = (
        "The published file, which is one training of the model that is best on validation, with its fixed threshold, "
        f"on external images ([15_external_validation]({link})). Balanced accuracy and macro AUC are means over the "
        f"diagnoses in a set{_with_a_class(best)}."
    )
    copies = load_study(ROOT / "studies" / f"{folder.name}.yaml").get("copies", "")
    return f"{markdown_table(header, rows)}\n\n{' '.join([note, copies]).strip()}"


def _best(folder: Path) -> pd.DataFrame:
    """The rows of the first model, which is the best on validation. Index: set and metric."""
    table = read_csv(folder / EXTERNAL, RESTORE)
    return table[table["model"] == table["model"].iloc[0]].set_index(["set", "metric"])


def _images(best: pd.DataFrame, name: str) -> str:
    """The number of images of a set, and of how many in its publisher's table."""
    images = best.loc[(name, "malignant_auc"), "images"]
    published = next((one.images for one in SETS.values() if one.name == name), images)
    return f"{images:,}" if images == published else f"{images:,} of {published:,}"


def _with_a_class(best: pd.DataFrame) -> str:
    """Of which sets some images have a diagnosis that is no class of the study, and how many have one."""
    images = best["images"].unstack("metric")
    some = images[images["balanced_accuracy"] < images["malignant_auc"]]["balanced_accuracy"]
    return "".join(
        f"; in {name} they rest on the {count:,} images whose diagnosis is a class of the study"
        for name, count in some.items()
    )
