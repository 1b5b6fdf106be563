"""Every published figure, computed again: `make check STUDY=ham10000_cpu`.

The figures of the run records are computed from their predictions.csv with the recorded seed and number of resamples,
and so are those of other clinics. The model card and the tables of README.md are written again from the records. What
differs is named.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import cpu_count

from helpers.data.lesions import classes
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.external import FIGURES, collection, external_collection, external_table
from helpers.evaluation.judge import judge
from helpers.evaluation.predictions import read_parts
from helpers.evaluation.seeds import TABLE, seed_runs, seed_table
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE, read_predictions, read_records
from helpers.running.elsewhere import EXTERNAL
from helpers.running.model_card import CARD, card_text
from helpers.running.tables import PUBLISHED
from helpers.study import results_folder

TOLERANCE = 1e-6  # tables show three digits; another processor may change the last of sixteen
JUDGED = ("threshold", "temperature", "validation", "test", "per_class")


def differences(study: str) -> list[str]:
    """A sentence for each figure of a study that its predictions do not give; none if no model was evaluated.

    The figures are those of all run records, of other clinics, of the model card and, if published, of README.md.
    Raises StudyError if a file is missing or damaged.
    """
    folder = results_folder(study)
    if not any("test" in read_json(path, RESTORE) for path in folder.glob("*/metrics.json")):
        return []
    from helpers.running.report import write_readme  # which takes seconds

    records = read_records(folder)
    lesions = read_csv(folder / "split.csv", RESTORE, dtype=str).set_index("image_id")["lesion_id"]
    check = partial(record_differences, lesions=lesions)
    with ThreadPoolExecutor(cpu_count()) as pool:  # NumPy computes in threads at the same time
        others = [pool.submit(find, folder, records, lesions) for find in (external_differences, seed_differences)]
        found = [one for several in pool.map(check, records) for one in several]
        found += [one for other in others for one in other.result()]
    if (folder / CARD).is_file() and (folder / CARD).read_text(encoding="utf-8") != card_text(study):
        found.append(f"{folder / CARD}: not what the records say. Run `make report STUDY={study}`.")
    if study in [name for names in PUBLISHED.values() for name in names] and not write_readme(check=True):
        found.append("README.md: its tables are not what the records say. Run `make report`.")
    return found


def record_differences(record: dict, lesions: pd.Series) -> list[str]:
    """A sentence for each figure of a record, from `read_records`, that its predictions.csv does not give."""
    place, parameters = record["folder"], record["parameters"]
    table = read_predictions(place)
    known = [one for one in classes(parameters["dataset"], record["task"]) if one.code in table]
    # An altered copy, `<image_id>#<copy>`, is of the lesion of its image.
    of_image = table["image_id"].str.partition("#")[0].map(lesions).set_axis(table["image_id"])
    options = {"sensitivity": parameters["sensitivity"], "bootstrap": Bootstrap(parameters["resamples"])}
    again = judge(table, known, of_image[~of_image.index.duplicated()], **options)
    return [
        f"{place / 'metrics.json'}: {name} is {published}, but the predictions give {fresh}."
        for key in JUDGED
        for name, published, fresh in _compare(key, record[key], again[key])
    ]


def seed_differences(folder: Path, records: list[dict], lesions: pd.Series) -> list[str]:
    """A sentence for each figure of repeated trainings that their predictions do not give."""
    if not (folder / TABLE).is_file():
        return []
    own = records[0]["parameters"]
    published, again = (
        read_csv(folder / TABLE, RESTORE),
        seed_table(seed_runs(folder), lesions, Bootstrap(own["resamples"], own["seed"])),
    )
    key = ["model", "kind", "metric"]
    both = published.merge(again, how="outer", on=key, suffixes=("", "_again"))
    return [
        f"{folder / TABLE}: {' '.join(row[name] for name in key)}: {name} is {row[name]}, but the predictions give "
        f"{row[name + '_again']}."
        for row in both.to_dict("records")
        for name in ("runs", "value", "low", "high", "lowest", "highest")
        if not np.isclose(row[name], row[name + "_again"], atol=TOLERANCE, rtol=0)
    ]


def external_differences(folder: Path, records: list[dict], lesions: pd.Series) -> list[str]:
    """A sentence for each figure of other clinics that the predictions of 15_external_validation do not give."""
    if not (folder / EXTERNAL).is_file():
        return []
    published = read_csv(folder / EXTERNAL, RESTORE)
    given = read_csv((folder / EXTERNAL).with_name("predictions.csv"), RESTORE, dtype={"label": str, "unit": str})
    by_name = {one["name"]: one for one in records}
    chosen = {name: by_name[name] for name in published["model"].unique()}  # in the order of the table
    known = classes(next(iter(chosen.values()))["parameters"]["dataset"], "diagnosis")
    home = {name: collection(read_parts(one, lesions)[1]) for name, one in chosen.items()}
    there = {
        place: external_collection(rows.fillna({"label": ""}), rows, known)
        for place, rows in given.groupby(["model", "set"], sort=False)
    }
    first = next(iter(chosen.values()))["parameters"]
    thresholds = {name: one["threshold"] for name, one in chosen.items()}
    again = external_table(home, there, thresholds, bootstrap=Bootstrap(first["resamples"], first["seed"]))
    return [
        f"{folder / EXTERNAL}: {old.model}, {old.set}, {old.metric}: {name} is {getattr(old, name)}, but the "
        f"predictions give {getattr(new, name)}."
        for old, new in zip(published.itertuples(), again.itertuples(), strict=True)
        for name in FIGURES
        if not np.isclose(getattr(old, name), getattr(new, name), atol=TOLERANCE, rtol=0, equal_nan=True)
    ]


def _compare(name: str, published: object, fresh: object) -> Iterator[tuple[str, object, object]]:
    """Each number below two entries of a record that is not the same, with its name such as `test.ece.low`."""
    if isinstance(published, dict) and isinstance(fresh, dict) and published.keys() == fresh.keys():
        for key in published:
            yield from _compare(f"{name}.{key}", published[key], fresh[key])
    elif not _is_same(published, fresh):
        yield name, published, fresh


def _is_same(published: object, fresh: object) -> bool:
    numbers = all(isinstance(one, int | float) for one in (published, fresh))
    return abs(published - fresh) <= TOLERANCE if numbers else published == fresh
