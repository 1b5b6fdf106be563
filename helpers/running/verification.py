"""Whether a run reproduces the published figures."""

from pathlib import Path

import pandas as pd

from helpers.records import read_records
from helpers.study import StudyError


def verify(published: Path, fresh: Path) -> pd.DataFrame:
    """Each test figure of the published records beside that of a fresh run: is it inside of the published interval?

    published, fresh: results folders of a study. One row a figure: model, figure, value, low, high (as published),
    fresh, reproduced (bool; a figure that the fresh run lacks is not). A figure without an interval has to be the same.
    Raises StudyError if the two stand on different splits.
    """
    old, new = (
        {str(record["folder"].relative_to(folder)): record for record in read_records(folder)}
        for folder in (published, fresh)
    )
    splits = [next(iter(records.values()))["split"]["sha256"] for records in (old, new)]
    if splits[0] != splits[1]:
        raise StudyError(f"{fresh} stands on another split than {published}: their test lesions are not the same.")
    rows = []
    for place, record in old.items():
        again = new.get(place, {}).get("test", {})
        for figure, was in record["test"].items():
            value = again.get(figure, {}).get("value")
            rows.append({"model": record["name"], "place": place, "figure": figure, **was, "fresh": value})
    table = pd.DataFrame(rows).astype({"fresh": float})  # a figure that is not there is NaN
    return table.assign(reproduced=[_reproduced(row) for row in table.itertuples()])


def _reproduced(row) -> bool:
    if pd.isna(row.value):  # undefined: it has to be so again
        return bool(pd.isna(row.fresh))
    if pd.isna(row.low):
        return bool(row.fresh == row.value)
    return bool(row.low <= row.fresh <= row.high)
