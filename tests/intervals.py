"""Differences with their intervals, above zero, below it and neither, to turn sentences round."""

import pandas as pd


def figure(value, low, high):
    return {"value": value, "low": low, "high": high, "images": 175}


UP, DOWN, OPEN = figure(0.2, 0.1, 0.3), figure(-0.2, -0.3, -0.1), figure(0.01, -0.1, 0.1)
NOTHING = {"value": None, "low": None, "high": None, "images": 0}


def table(**rows):
    """One row per name; underscores become spaces."""
    return pd.DataFrame({name.replace("_", " "): row for name, row in rows.items()}).T
