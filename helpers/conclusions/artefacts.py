"""Conclusions of 12_artefacts about hairs, rulers and dark corners, and about changes that should not matter."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, counted, listed, percent, with_interval

TRUSTED = 0.8  # a finder with at least this precision is trusted


def mirrored(changed: Mapping, network: str) -> str:
    """How often mirroring alone changes an answer. changed: the share of answers, with images."""
    rarely = ", although" if changed["high"] is not None and changed["high"] >= 0.02 else ", as it should be:"
    return (
        f"Mirroring an image changes the answer of the {network} for {with_interval(changed)} of "
        f"{counted(int(changed['images']), 'test image')}{rarely} a mirrored lesion is the same lesion."
    )


def title(changed: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure of answers that change. changed: by network, one row per change."""
    share = {name: table.loc["mirror image", "value"] for name, table in changed.items()}
    worst = max(share, key=share.get)
    return f"A mirror image alone changes {percent(share[worst])} of the answers of the {worst}"


def beyond_shift(excess: Mapping) -> str:
    """A pasted artefact's share of changed answers minus that of a shift, in words."""
    return by_sign(excess, above="more than a shift", below="less than a shift", unclear="no more than a shift")


def pasted(changed: pd.DataFrame, excess: pd.DataFrame, network: str) -> str:
    """Which pasted artefact changes most answers. changed, excess: one row per artefact; excess: minus a shift."""
    worst = excess["value"].astype(float).idxmax()
    than = by_sign(excess.loc[worst], above="more than", below="less than", unclear="not clearly more than")
    return (
        f"Of the pasted artefacts, most answers of the {network} change with {worst}: "
        f"{with_interval(changed.loc[worst])}, {than} with a shift by two pixels (difference "
        f"{with_interval(excess.loc[worst])})."
    )


def finder(precision: Mapping | None) -> str:
    """How far to trust what a finder finds. precision: None where it is not known."""
    if precision is None or pd.isna(precision["value"]):
        return "unknown: look at the pictures"
    if precision["low"] >= TRUSTED:
        return "trustworthy"
    return "often wrong" if precision["high"] < TRUSTED else "too few findings to tell"


def found_images(gap: Mapping, artefact: str, network: str, *, images: int, precision: Mapping | None) -> str:
    """Whether images with an artefact are answered less accurately. gap: with minus without, same mix of diagnoses."""
    accuracy = by_sign(gap, above="is higher", below="is lower", unclear="does not clearly differ")
    known = precision is not None and pd.notna(precision["value"])
    trust = f"precision {with_interval(precision)}" if known else "precision unknown"
    return (
        f"On images in which a finder sees {artefact} ({counted(images, 'image')}, {trust}), the accuracy of the "
        f"{network} {accuracy} compared with other images of the same diagnoses: difference {with_interval(gap)}."
    )


def cause(gap: Mapping, removed: Mapping) -> str:
    """Whether the artefact itself moves answers. gap: as in `found_images`; removed: minus counterparts."""
    moves = clear_sign(removed) == 1
    if clear_sign(gap) == -1:
        return "the artefact is part of it" if moves else "the images differ, not the artefact alone"
    return "the artefact moves some answers" if moves else "no clear effect"


def answer(changed: pd.DataFrame, network: str) -> str:
    """The answer to the notebook's question. changed: the share of answers that change, one row per change."""
    harmless = changed.loc[["mirror image", "shift"], "value"].astype(float)
    pasted = changed["value"].drop(harmless.index).astype(float)
    found = [f"{what} {percent(share)}" for what, share in pasted.items()]
    moved = "Yes" if changed.loc[pasted.index, "low"].max() > 0 else "Hardly"
    return (
        f"{moved}. Of the answers of the {network}, these pasted artefacts change: {listed(found)}. A mirror image of "
        f"the same lesion changes {percent(harmless['mirror image'])}, a shift by two pixels "
        f"{percent(harmless['shift'])}."
    )
