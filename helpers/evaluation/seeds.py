"""The same network, trained from several seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.evaluation.calibration import calibrate
from helpers.evaluation.comparison import mean_over_seeds, resampled_scores
from helpers.evaluation.predictions import Predictions, ensemble, read_parts
from helpers.reading import read_csv
from helpers.records import read_records

METRICS = ("balanced_accuracy", "accuracy", "macro_auc", "malignant_auc")
COLUMNS = ("model", "runs", "kind", "metric", "value", "low", "high", "lowest", "highest")
TABLE = Path("07_model_comparison") / "seeds.csv"
REMEDY = "Run 07_model_comparison again."


def seed_runs(folder: Path) -> dict[str, list[dict]]:
    """The records of each compared model that was trained from several seeds, the compared one first, by its name."""
    compared = {record["name"]: record for record in read_records(folder, compared=True)}
    runs: dict[str, list[dict]] = {}
    for notebook in sorted({record["notebook"] for record in compared.values()}):
        for record in read_records(folder, notebook=notebook):
            if (name := record.get("repeats")) in compared:
                runs.setdefault(name, [compared[name]]).append(record)
    return runs


def trainings(folder: Path, notebook: str) -> list[dict]:
    """The records of a notebook's own model, the training that is compared first, then those from other seeds."""
    first, *others = read_records(folder, notebook=notebook)
    return [first, *(record for record in others if record.get("repeats") == first["name"])]


def seed_table(
    runs: Mapping[str, Sequence[dict]], lesions: Mapping[str, str], bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """The scores of repeated training runs on test: their mean, and the ensemble of their calibrated probabilities.

    Columns: model, runs (their number), kind (`mean` or `ensemble`), metric (one of METRICS), value with low and high
    (95 %, over lesions and, for the mean, seeds), and lowest and highest, the range of the single runs. runs: as from
    `seed_runs`; lesions: lesion id by image id.
    """
    rows = []
    for name, records in runs.items():
        tests = [read_parts(record, lesions)[1] for record in records]
        joint = ensemble(calibrate(test, record["temperature"]) for test, record in zip(tests, records, strict=True))
        for kind, models in (("mean", tests), ("ensemble", [joint])):
            about = {"model": name, "runs": len(records), "kind": kind}
            rows += [about | {"metric": metric} | _score(models, metric, bootstrap) for metric in METRICS]
    return pd.DataFrame(rows, columns=COLUMNS)


def _score(models: Sequence[Predictions], metric: str, bootstrap: Bootstrap) -> dict[str, float]:
    drawn = resampled_scores(models, metric, bootstrap)
    return mean_over_seeds(drawn) | {"lowest": drawn[:, 0].min(), "highest": drawn[:, 0].max()}


def seed_figures(folder: Path) -> dict[tuple[str, str], dict]:
    """What a study's `seed_table` says, by model and kind: `runs`, and value, low and high by metric."""
    if not (folder / TABLE).is_file():
        return {}
    groups = read_csv(folder / TABLE, REMEDY).groupby(["model", "kind"], sort=False)
    return {
        key: {"runs": int(group["runs"].iloc[0])} | group.set_index("metric")[["value", "low", "high"]].to_dict("index")
        for key, group in groups
    }
