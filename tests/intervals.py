"""Differences with their intervals, above zero, below it and neither, to turn sentences round."""

import pandas as pd

UP = {"value": 0.2, "low": 0.1, "high": 0.3, "images": 175}
DOWN = {"value": -0.2, "low": -0.3, "high": -0.1, "images": 175}
OPEN = {"value": 0.01, "low": -0.1, "high": 0.1, "images": 175}
NOTHING = {"value": None, "low": None, "high": None, "images": 0}


def table(**rows):
    """One row per name; underscores become spaces."""
    return pd.DataFrame({name.replace("_", " "): row for name, row in rows.items()}).T
