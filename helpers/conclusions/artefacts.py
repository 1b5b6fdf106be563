"""Conclusions of 11_explanation about hairs, rulers and dark corners, and about changes that should not matter."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, counted, with_interval

TRUSTED = 0.8  # a finder with at least this precision is taken at its word


def mirrored(changed: Mapping, network: str) -> str:
    """How often mirroring alone changes an answer. changed: the share of answers, with images."""
    often = "hardly ever changes" if changed["high"] is not None and changed["high"] < 0.02 else "changes"
    return (
        f"Mirroring an image {often} the answer of the {network}: for {with_interval(changed)} of "
        f"{counted(int(changed['images']), 'test image')}, although a mirrored lesion is the same lesion."
    )


def title(changed: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure of answers that change. changed: by network, one row per change."""
    share = {name: table.loc["mirror image", "value"] for name, table in changed.items()}
    worst = max(share, key=share.get)
    return f"A mirror image alone changes {share[worst]:.0%} of the answers of the {worst}".replace("%", " %")


def beyond_shift(excess: Mapping) -> str:
    """A pasted artefact's share of changed answers minus that of a shift, in words."""
    return by_sign(excess, above="more than a shift", below="less than a shift", unclear="no more than a shift")


def pasted(changed: pd.DataFrame, excess: pd.DataFrame, network: str) -> str:
    """Which pasted artefact changes most answers. changed, excess: one row per artefact; excess: minus a shift."""
    worst = excess["value"].astype(float).idxmax()
    than = by_sign(excess.loc[worst], above="more than", below="less than", unclear="not measurably more than")
    return (
        f"Of what was pasted onto images, {worst} change most answers of the {network}: "
        f"{with_interval(changed.loc[worst])}, {than} a shift by two pixels does (difference "
        f"{with_interval(excess.loc[worst])})."
    )


def finder(precision: Mapping | None) -> str:
    """How far to trust what a finder finds. precision: None where it is not known."""
    if precision is None or precision["value"] is None or pd.isna(precision["value"]):
        return "precision unknown: look at the pictures"
    return "trustworthy" if precision["low"] >= TRUSTED else "some of what it finds is something else"


def found_images(gap: Mapping, artefact: str, network: str, *, images: int, precision: Mapping | None) -> str:
    """Whether images with an artefact are answered worse. gap: accuracy with minus without, same mix of diagnoses."""
    verb = by_sign(gap, above="better", below="worse", unclear="neither measurably better nor worse")
    known = precision is not None and pd.notna(precision["value"])
    trust = f"precision {with_interval(precision)}" if known else "precision not known"
    return (
        f"Images in which a finder sees {artefact} ({counted(images, 'image')}, {trust}) are answered {verb} by the "
        f"{network} than others of the same diagnoses: accuracy {with_interval(gap)}."
    )


def group(gap: Mapping) -> str:
    """Accuracy with an artefact minus without, for the same diagnoses, in words."""
    return by_sign(gap, above="answered better", below="answered worse", unclear="no clear difference")


def cause(gap: Mapping, removed: Mapping) -> str:
    """Whether the artefact itself moves answers. gap: as in `group`; removed: changed answers, minus counterparts."""
    moves = clear_sign(removed) == 1
    if clear_sign(gap) == -1:
        return "the artefact is part of it" if moves else "the images differ, not the artefact alone"
    return "the artefact moves some answers" if moves else "no effect was measured"
