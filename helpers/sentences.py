"""Numbers and sentences that a notebook prints from its results, and code that it shows."""

import inspect
import textwrap
from collections.abc import Iterable, Mapping

import pandas as pd


def with_interval(figure: dict, digits: int = 3) -> str:
    """A value from a record with its 95 % interval, `0.652 [0.610, 0.694]`. Undefined values become a dash.

    An interval that leaves out zero has up to three more digits where it would seem to touch it, `0.0303 [0.0005,
    0.0661]`.
    """
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return "–" if pd.isna(figure["value"]) else f"{figure['value']:.{digits}f} [–]"
    near = min(abs(figure["low"]), abs(figure["high"]))
    if clear_sign(figure):
        digits = next((more for more in range(digits, digits + 4) if round(near, more)), digits)
    return "{value:.{d}f} [{low:.{d}f}, {high:.{d}f}]".format(d=digits, **figure)


def clear_sign(figure: Mapping) -> int | None:
    """The sign of a difference, 1 or -1, or 0 if its 95 % interval includes zero.

    figure: value, low and high, as in a record. Returns None if the value or the interval is undefined.
    """
    if pd.isna(figure["value"]) or pd.isna(figure["low"]):
        return None
    if figure["low"] <= 0 <= figure["high"]:
        return 0
    return 1 if figure["value"] > 0 else -1


def wording(figure: Mapping) -> str:
    """The result of `clear_sign` in words."""
    words = {1: "clearly more", -1: "clearly less", 0: "no clear difference", None: "not known"}
    return words[clear_sign(figure)]


def by_sign(figure: Mapping, *, above: str, below: str, unclear: str) -> str:
    """The words that fit a difference: `above` or `below` if its interval lies on that side of zero, else `unclear`.

    figure: value, low and high, as in a record. An undefined difference is unclear too.
    """
    return {1: above, -1: below}.get(clear_sign(figure), unclear)


def join(names: Iterable[str], none: str = "none") -> str:
    """Names as a reader lists them: `a`, `a and b`, `a, b and c`; the word of `none` if there are no names.

    Semicolons keep three and more names apart that hold commas themselves.
    """
    names = [str(name) for name in names] or [none]
    if len(names) > 2 and any("," in name for name in names):
        return f"{'; '.join(names[:-1])}; and {names[-1]}"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def pluralise(number: int, unit: str, units: str = "") -> str:
    """A number with its noun: `1 lesion`, `2,004 images`. units: the plural, unless it only adds an s."""
    return f"{number:,} {unit if number == 1 else units or unit + 's'}"


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage: `62 %`."""
    return f"{100 * share:.{digits}f} %"


def say(text: str) -> None:
    """Show a text as Markdown in the notebook."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def markdown_table(header: Iterable, rows: Iterable[Iterable]) -> str:
    """A table in Markdown, for the notebook, README.md and model cards."""
    header = list(header)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (header, ["---"] * len(header), *rows))


def show_table(table: pd.DataFrame) -> None:
    """Show a table whose cells hold text, with its index as first column. No cell is cut off, unlike in pandas."""
    header = [table.index.name or "", *table.columns]
    say(markdown_table(header, table.itertuples(name=None)))


def difference_table(differences: pd.DataFrame, *, above: str, below: str, unclear: str) -> pd.DataFrame:
    """Differences (columns value, low and high) as text, and what to make of each, as in `by_sign`."""
    words = [by_sign(row, above=above, below=below, unclear=unclear) for _, row in differences.iterrows()]
    texts = [with_interval(row) for _, row in differences.iterrows()]
    return pd.DataFrame({"difference": texts, "what to make of it": words}, differences.index)


def show_source(*functions: object) -> None:
    """Show the source code of functions or classes, with syntax highlighting."""
    from IPython.display import Code, display

    for function in functions:
        display(Code(textwrap.dedent(inspect.getsource(function)), language="python"))
