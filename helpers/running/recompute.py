"""Every published figure, computed again: `make check STUDY=ham10000_cpu`.

The figures of the run records are computed from their predictions.csv with the recorded seed and number of resamples,
and so are those of repeated trainings, of other clinics and of groups of patients. The model card and the tables of
README.md are written again from the records. What differs is named.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from joblib import cpu_count

from helpers.data.lesions import classes, dataset_folder, read_lesions
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.external import FIGURES, collection, external_collection, external_table
from helpers.evaluation.judge import judge
from helpers.evaluation.predictions import read_parts
from helpers.evaluation.seeds import TABLE, seed_runs, seed_table
from helpers.evaluation.subgroups import patient_group_scores
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE, read_predictions, read_records
from helpers.running.elsewhere import EXTERNAL
from helpers.running.model_card import CARD, card_text
from helpers.running.tables import PUBLISHED
from helpers.study import results_folder

TOLERANCE = 1e-6  # tables show three digits; another processor may change the last of sixteen
JUDGED = ("threshold", "temperature", "validation", "test", "per_class")
GROUPS = Path("07_model_comparison") / "groups.csv"
Figure = tuple[str, object, object]  # its name, what is published, and what the predictions give


def published_figures(study: str) -> list[Figure]:
    """Every figure of a study's tables with what its predictions give; none if no model was evaluated.

    The figures are those of all run records, of repeated trainings, of other clinics and, where the table of lesions is
    at hand, of groups of patients. Raises StudyError if a file is missing or damaged.
    """
    folder = results_folder(study)
    if not any("test" in read_json(path, RESTORE) for path in folder.glob("*/metrics.json")):
        return []
    records = read_records(folder)
    lesions = read_csv(folder / "split.csv", RESTORE, dtype=str).set_index("image_id")["lesion_id"]
    check = partial(record_figures, lesions=lesions)
    with ThreadPoolExecutor(cpu_count()) as pool:  # NumPy computes in threads at the same time
        finders = (external_figures, seed_figures, group_figures)
        others = [pool.submit(find, folder, records, lesions) for find in finders]
        found = [one for several in pool.map(check, records) for one in several]
        return found + [one for other in others for one in other.result()]


def differences(figures: list[Figure]) -> list[str]:
    """A sentence for each figure that the predictions do not give."""
    return [
        f"{name} is {published}, but the predictions give {fresh}."
        for name, published, fresh in figures
        if not _is_same(published, fresh)
    ]


def stale_tables(study: str) -> list[str]:
    """A sentence if the model card of a study is not what its records say, and one for README.md if it shows them."""
    from helpers.running.report import write_readme  # which takes seconds

    folder, found = results_folder(study), []
    if (folder / CARD).is_file() and (folder / CARD).read_text(encoding="utf-8") != card_text(study):
        found.append(f"{folder / CARD}: not what the records say. Run `make report STUDY={study}`.")
    if study in [name for names in PUBLISHED.values() for name in names] and not write_readme(check=True):
        found.append("README.md: its tables are not what the records say. Run `make report`.")
    return found


def record_figures(record: dict, lesions: pd.Series) -> list[Figure]:
    """The figures of a record, from `read_records`, with what its predictions.csv gives."""
    place, parameters = record["folder"], record["parameters"]
    table = read_predictions(place)
    known = [one for one in classes(parameters["dataset"], record["task"]) if one.code in table]
    # An altered copy, `<image_id>#<copy>`, is of the lesion of its image.
    of_image = table["image_id"].str.partition("#")[0].map(lesions).set_axis(table["image_id"])
    options = {"sensitivity": parameters["sensitivity"], "bootstrap": Bootstrap.of(parameters)}
    again = judge(table, known, of_image[~of_image.index.duplicated()], **options)
    return [one for key in JUDGED for one in _pairs(f"{place / 'metrics.json'}: {key}", record[key], again[key])]


def seed_figures(folder: Path, records: list[dict], lesions: pd.Series) -> list[Figure]:
    """The figures of repeated trainings with what their predictions give."""
    if not (folder / TABLE).is_file():
        return []
    again = seed_table(seed_runs(folder), lesions, Bootstrap.of(records[0]["parameters"]))
    key, names = ["model", "kind", "metric"], ["runs", "value", "low", "high", "lowest", "highest"]
    return _cells(folder / TABLE, again, key, names=names)


def group_figures(folder: Path, records: list[dict], lesions: pd.Series) -> list[Figure]:
    """The figures of groups of patients with what the predictions give; none without the table of lesions of 02."""
    rivals = [one for one in records if one.get("compared", True) and one["task"] == "diagnosis"]
    patients = dataset_folder(records[0]["parameters"]["dataset"]) / "cache" / "lesions.csv"
    if not ((folder / GROUPS).is_file() and patients.is_file()):
        return []
    best = max(rivals, key=lambda one: one["validation"]["balanced_accuracy"]["value"])
    tested = read_predictions(best["folder"]).query("part == 'test'")["image_id"]
    given = read_lesions(patients).set_index("image_id").reindex(tested)
    test, bootstrap = read_parts(best, lesions)[1], Bootstrap.of(records[0]["parameters"])
    again = patient_group_scores(test, given, best["threshold"], bootstrap=bootstrap).reset_index()
    return _cells(folder / GROUPS, again, ["group"], names=list(again.columns[1:]))


def external_figures(folder: Path, records: list[dict], lesions: pd.Series) -> list[Figure]:
    """The figures of other clinics with what the predictions of 15_external_validation give."""
    if not (folder / EXTERNAL).is_file():
        return []
    published = read_csv(folder / EXTERNAL, RESTORE)
    given = read_csv((folder / EXTERNAL).with_name("predictions.csv"), RESTORE, dtype={"label": str, "unit": str})
    by_name = {one["name"]: one for one in records}
    chosen = {name: by_name[name] for name in published["model"].unique()}  # in the order of the table
    first = next(iter(chosen.values()))
    known = classes(first["parameters"]["dataset"], "diagnosis")
    home = {name: collection(read_parts(one, lesions)[1]) for name, one in chosen.items()}
    there = {
        place: external_collection(rows.fillna({"label": ""}), rows, known)
        for place, rows in given.groupby(["model", "set"], sort=False)
    }
    thresholds = {name: one["threshold"] for name, one in chosen.items()}
    again = external_table(home, there, thresholds, bootstrap=Bootstrap.of(first["parameters"]))
    return _cells(folder / EXTERNAL, again, ["model", "set", "metric"], names=FIGURES)


def _cells(file: Path, again: pd.DataFrame, key: list[str], *, names: list[str]) -> list[Figure]:
    """The cells of a published table that hold a number, or should, beside those of the table computed again."""
    both = read_csv(file, RESTORE).merge(again, how="outer", on=key, suffixes=("", "_again"))
    return [
        (f"{file}: {', '.join(row[one] for one in key)}: {name}", row[name], row[f"{name}_again"])
        for row in both.to_dict("records")
        for name in names
        if not (pd.isna(row[name]) and pd.isna(row[f"{name}_again"]))
    ]


def _pairs(name: str, published: object, fresh: object) -> Iterator[Figure]:
    """Each number below two entries of a record, with its name such as `test.ece.low`."""
    if isinstance(published, dict) and isinstance(fresh, dict) and published.keys() == fresh.keys():
        for key in published:
            yield from _pairs(f"{name}.{key}", published[key], fresh[key])
    else:
        yield name, published, fresh


def _is_same(published: object, fresh: object) -> bool:
    numbers = all(isinstance(one, int | float) for one in (published, fresh))
    return abs(published - fresh) <= TOLERANCE if numbers else published == fresh
