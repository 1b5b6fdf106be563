"""Trials: runs of one notebook with other parameters, kept apart from the results of the study."""

import re
from collections.abc import Mapping

from helpers.study import StudyError

LONGEST = 100  # characters of a name that is made of parameters


def trial_folder(notebook: str, given: Mapping, name: str = "") -> str:
    """Folder of a trial, relative to the results of its study: trials/03_cnn_baseline/epochs=5.

    given: the parameters that differ from those of the study; name: used instead of them. Raises StudyError for a name
    that cannot be one of a folder.
    """
    chosen = name or ",".join(f"{key}={_spell(value)}" for key, value in sorted(given.items()))[:LONGEST]
    if not re.fullmatch(r"\w[\w.,=+-]*", chosen):
        raise StudyError(f"NAME is {chosen!r}: use letters, digits and the signs . , = + - _ in the name of a trial.")
    return f"trials/{notebook}/{chosen}"


def _spell(value: object) -> str:
    """A value as part of the name of a folder: [16, 32] as 16+32, and other signs as a hyphen."""
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text)
