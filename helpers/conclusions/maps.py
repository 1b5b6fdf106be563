"""Conclusions of 11_explanation about maps: whether they may be read as where a network looks."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, join, pluralise, with_interval

ALIKE = 0.7  # from this rank correlation on, two maps show the reader much the same


def resolution(cells: int, side: int) -> str:
    """What a map of this many cells per side can show."""
    return "in which part of the image" if cells <= 4 else f"structures of about {side // cells} px and more"


def against_blob(lead: Mapping) -> str:
    """A map's figure minus that of the centre blob, in words."""
    return by_sign(
        lead, above="better than the blob", below="worse than the blob", unclear="not clearly better than the blob"
    )


def after_randomisation(row: Mapping) -> str:
    """What is left of a map when all weights are random. row: its rank correlation with the trained map."""
    if clear_sign(row) is None:
        return "there is no map to compare"
    return (
        "passed: nothing measurable is left of the map" if clear_sign(row) != 1 else "failed: part of it was not learnt"
    )


def under_turns(row: Mapping) -> str:
    """Whether a map turns with its image. row: the rank correlation with the map of the turned image."""
    if clear_sign(row) is None:
        return "there is no map to compare"
    return "passed: it turns with the image" if row["low"] >= ALIKE else "failed: it changes when the image turns"


def blob_title(leads: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure of maps minus blob. leads: by measure, one row per map."""
    counts = {name: sum(clear_sign(row) == 1 for _, row in table.iterrows()) for name, table in leads.items()}
    total = len(next(iter(leads.values())))
    parts = [f"{count or 'none'} of {total} by {name}" for name, count in counts.items()]
    return f"Maps that beat a blob in the centre: {join(parts)}"


def agreement(pairs: pd.DataFrame) -> str:
    """How far two methods or networks agree about the same images. pairs: rank correlations, one row per pair."""
    most = pairs["value"].astype(float).idxmax()
    verdict = "show much the same" if pairs.loc[most, "low"] >= ALIKE else "disagree"
    return (
        f"Maps of the same image {verdict}: the closest pair has a rank correlation of {pairs.loc[most, 'value']:.2f}"
    )


def verdict(leads: Mapping[str, Mapping], method: str, network: str) -> str:
    """Whether a method's maps beat the centre blob. leads: map minus blob, by measure, with images."""
    better, worse = (sum(clear_sign(lead) == sign for lead in leads.values()) for sign in (1, -1))
    images = int(max(lead["images"] for lead in leads.values()))
    figures = ", ".join(f"{name} {with_interval(lead)}" for name, lead in leads.items())
    return (
        f"{method} of the {network} is better than a blob in the centre, which ignores the image, on {better} of "
        f"{len(leads)} measures and worse on {worse}: {figures} (map minus blob, {pluralise(images, 'test image')})."
    )


def turning(row: Mapping, method: str, network: str) -> str:
    """Whether maps turn with the image. row: rank correlation, with images."""
    turns = "turns" if row["low"] is not None and row["low"] >= ALIKE else "does not turn"
    return (
        f"{method} of the {network} {turns} with the image: the map of a turned or mirrored lesion has a rank "
        f"correlation of {with_interval(row)} with the original one, on {pluralise(int(row['images']), 'image')}."
    )


def answer(leads: Mapping[str, Mapping], network: str) -> str:
    """The answer to the notebook's question. leads: Grad-CAM minus blob, by measure."""
    better = [name for name, lead in leads.items() if clear_sign(lead) == 1]
    beats = f"beats a blob in the centre on {len(better) or 'none'} of {len(leads)} measures"
    trust = "As far as these tests go" if len(better) == len(leads) else "Not reliably"
    return f"{trust}: Grad-CAM of the {network} {beats}."
