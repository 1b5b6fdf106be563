"""Whether a run reproduces the published figures."""

from pathlib import Path

import pandas as pd

from helpers.records import read_records
from helpers.sentences import with_interval
from helpers.study import StudyError, results_folder


def compare_runs(published: Path, fresh: Path) -> pd.DataFrame:
    """Each published test figure beside that of a fresh run, and whether the fresh one is in the published interval.

    published, fresh: results folders of a study. One row per figure: model, place, figure, value, low, high (as
    published), fresh, reproduced (bool). A figure without an interval has to be equal. A figure that the fresh run
    lacks is not reproduced. Raises StudyError if the two runs have different splits.
    """
    old, new = (
        {str(record["folder"].relative_to(folder)): record for record in read_records(folder)}
        for folder in (published, fresh)
    )
    if len({next(iter(records.values()))["split"]["sha256"] for records in (old, new)}) > 1:
        raise StudyError(f"{fresh} has another split than {published}, so their test lesions differ.")
    rows = [
        {"model": record["name"], "place": place, "figure": figure, **published_figure}
        | {"fresh": new.get(place, {}).get("test", {}).get(figure, {}).get("value")}
        for place, record in old.items()
        for figure, published_figure in record["test"].items()
    ]
    table = pd.DataFrame(rows).astype({"fresh": float})  # a missing figure becomes NaN
    return table.assign(
        reproduced=[is_reproduced(row.value, row.low, row.high, fresh=row.fresh) for row in table.itertuples()]
    )


def is_reproduced(value: float, low: float, high: float, *, fresh: float) -> bool:
    """Whether a figure lies inside the published interval. NaN means undefined."""
    if pd.isna(value):  # the fresh figure has to be undefined too
        return bool(pd.isna(fresh))
    if pd.isna(low):
        return bool(fresh == value)
    return bool(low <= fresh <= high)


def print_verification(study: str, fresh: Path) -> bool:
    """Print which published figures of a study a fresh run reproduced; returns whether it reproduced all of them.

    fresh: the results folder of that run.
    """
    table = compare_runs(results_folder(study), fresh)
    for (model, place), figures in table.groupby(["model", "place"], sort=False):
        print(f"{model} ({place}): {figures['reproduced'].sum()} of {len(figures)} figures reproduced")
        for row in figures[~figures["reproduced"]].itertuples():
            published = with_interval({"value": row.value, "low": row.low, "high": row.high})
            print(f"  {row.figure}: published {published}, now {'–' if pd.isna(row.fresh) else f'{row.fresh:.3f}'}")
    print(f"{table['reproduced'].sum()} of {len(table)} figures lie inside their published interval.")
    return bool(table["reproduced"].all())
