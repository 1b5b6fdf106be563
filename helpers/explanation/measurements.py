"""The figures of the notebooks about explanation: each with its interval and the number of images behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.evaluation.means import mean_differences, means
from helpers.records import write_json


class Measurements:
    """Tables of figures by name, resampled by lesion, and written together at the end.

    lesions: of the images that are measured unless others are given, [n]; about: what the file says besides the tables.
    """

    def __init__(self, lesions: np.ndarray, bootstrap: Bootstrap = STANDARD, about: Mapping | None = None):
        self.lesions, self.bootstrap, self.about = np.asarray(lesions), bootstrap, dict(about or {})
        self.tables: dict[str, pd.DataFrame] = {}

    def store(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Keep a table with the columns value, low, high and perhaps images; returns it."""
        self.tables[name] = table
        return table

    def keep(self, name: str, columns: Mapping[str, np.ndarray], rows=slice(None), *, by=means) -> pd.DataFrame:
        """The means of columns, float [n], over some rows, with intervals and the number of defined images.

        by: `means`, or `proportions` for events.
        """
        columns = {key: np.asarray(values)[rows] for key, values in columns.items()}
        counts = [int(np.isfinite(values.astype(float)).sum()) for values in columns.values()]
        return self.store(name, by(columns, self.lesions[rows], self.bootstrap).assign(images=counts))

    def contrast(self, name: str, columns: Mapping[str, np.ndarray], group: np.ndarray) -> pd.DataFrame:
        """The means over a group of images, bool [n], minus those over the others."""
        return self.store(name, mean_differences(columns, group, self.lesions, bootstrap=self.bootstrap))

    def of(self, lesions: np.ndarray) -> "Measurements":
        """The same collection of tables for other images."""
        other = Measurements(lesions, self.bootstrap)
        other.tables = self.tables
        return other

    def write(self, folder: Path) -> None:
        """Write measures.json, with the tables as mappings."""
        written = {
            name: table.astype(object).where(table.notna(), None).to_dict("index")
            for name, table in self.tables.items()
        }
        write_json(folder / "measures.json", self.about | written)
