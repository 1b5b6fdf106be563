"""Tables and JSON files, read whole or refused with a message that names file and remedy."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.study import StudyError

if TYPE_CHECKING:  # reading JSON does not wait for it
    import pandas as pd

ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by their first bytes


def read_note(path: Path) -> dict:
    """What a JSON file says, or {} if it is missing or damaged, where that is no fault."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_json(path: Path, remedy: str) -> dict:
    """The content of a JSON file. Raises StudyError with `remedy` if it is missing, cut short or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: {_fault(error, 'JSON')}. {remedy}") from error


def read_csv(path: Path, remedy: str, **options) -> "pd.DataFrame":
    """A table that `records.write_csv` wrote. options: of pandas.read_csv.

    Raises StudyError with `remedy` if the file is missing, cut short or not such a table.
    """
    import pandas as pd

    try:
        with Path(path).open("rb") as file:
            file.seek(-1, 2)
            if file.read() != b"\n":
                raise ValueError("its last line has no end")
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise StudyError(f"{path}: {_fault(error, 'csv')}. {remedy}") from error


def read_table(path: Path, remedy: str) -> "pd.DataFrame":
    """A table from elsewhere as text: UTF-8 or UTF-16, columns separated by comma, semicolon or tab.

    A first line `sep=;`, as Excel writes it, names the separator. Blank lines stay, so that row numbers fit the file.
    `attrs["first_row"]` is the number of the line after the header. Raises StudyError with `remedy` if the file is not
    such a table.
    """
    import pandas as pd

    try:
        with Path(path).open("rb") as file:
            start = file.read(3)
        encoding = next((name for mark, name in ENCODINGS.items() if start.startswith(mark)), "utf-8")
        with Path(path).open(encoding=encoding, newline="") as file:
            header, named = file.readline().strip(), ""
            if header.lower().startswith("sep="):
                named, header = header[4:] or "\t", file.readline()
        separator = named or max(",;\t", key=header.count)
        options = {"sep": separator, "encoding": encoding, "skiprows": bool(named) * 1, "skip_blank_lines": False}
        table = pd.read_csv(path, dtype=str, skipinitialspace=True, **options)
    except (OSError, ValueError, csv.Error) as error:
        raise StudyError(f"{path}: {_fault(error, 'a table')}. {remedy}") from error
    table.attrs["first_row"] = 2 + bool(named)
    return table


def _fault(error: Exception, kind: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (
        f"cannot be read ({error.strerror})"
        if isinstance(error, OSError) and error.strerror
        else (f"not {kind}, or cut short ({error})")
    )
