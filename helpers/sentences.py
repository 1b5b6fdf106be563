"""Figures and sentences that a notebook prints from its own numbers."""

from collections.abc import Mapping

import pandas as pd


def with_interval(figure: dict, digits: int = 3) -> str:
    """A figure of a record with its 95 % interval, `0.652 [0.610, 0.694]`; a dash for what is undefined.

    A minus before a zero stays: it says on which side of zero an end of the interval lies.
    """
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return "–" if pd.isna(figure["value"]) else f"{figure['value']:.{digits}f} [–]"
    return "{value:.{d}f} [{low:.{d}f}, {high:.{d}f}]".format(d=digits, **figure)


def verdict(figure: Mapping) -> str:
    """Whether a difference with its interval, as of a record, leaves out zero, in words."""
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return "not known"
    if figure["low"] <= 0 <= figure["high"]:
        return "no clear difference"
    return "clearly more" if figure["value"] > 0 else "clearly less"


def say(text: str) -> None:
    """Show a sentence made from the study's own numbers as prose."""
    from IPython.display import Markdown, display

    display(Markdown(text))
