"""Conclusions of 12_artefacts about hairs, rulers and dark corners, and about changes that should not matter."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, join, percent, pluralise, with_interval

ONE = {"ruler": "a ruler"}  # artefacts of which an image has one
TRUSTED = 0.8  # a finder with at least this precision is trusted


def mirror_image(changed: Mapping, network: str) -> str:
    """How often mirroring alone changes an answer. changed: the share of answers, with images."""
    rarely = ", although" if changed["high"] is not None and changed["high"] >= 0.02 else ", as it should be:"
    return (
        f"Mirroring an image changes the {network}'s answer in {with_interval(changed)} of "
        f"{pluralise(int(changed['images']), 'test image')}{rarely} a mirrored lesion is the same lesion."
    )


def title(changed: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure of answers that change. changed: by network, one row per change."""
    share = {name: table.loc["mirror image", "value"] for name, table in changed.items()}
    worst = max(share, key=share.get)
    return f"A mirror image alone changes {percent(share[worst])} of the answers of the {worst}"


def beyond_shift(excess: Mapping) -> str:
    """A pasted artefact's share of changed answers minus that of a shift, in words."""
    return by_sign(
        excess, above="more than a shift", below="less than a shift", unclear="not clearly more than a shift"
    )


def worst_artefact(changed: pd.DataFrame, excess: pd.DataFrame, network: str) -> str:
    """Which pasted artefact changes most answers. changed, excess: one row per artefact; excess: minus a shift."""
    worst = excess["value"].astype(float).idxmax()
    than = by_sign(excess.loc[worst], above="more than", below="less than", unclear="not clearly more than")
    return (
        f"Of the pasted artefacts, most answers of the {network} change with {ONE.get(worst, worst)}: "
        f"{with_interval(changed.loc[worst])}, {than} with a shift by two pixels (difference "
        f"{with_interval(excess.loc[worst])})."
    )


def finder(precision: Mapping | None) -> str:
    """How far to trust what a finder finds. precision: None where it is not known."""
    if not _is_known(precision):
        return "unknown: look at the pictures"
    if precision["low"] >= TRUSTED:
        return "trustworthy"
    return "often wrong" if precision["high"] < TRUSTED else "too few findings to tell"


def found_images(
    gaps: Mapping[str, Mapping], network: str, *, images: Mapping[str, int], precisions: Mapping[str, Mapping | None]
) -> str:
    """Whether images with an artefact are answered less accurately, all by artefact.

    gaps: accuracy with minus without, same mix of diagnoses; images: in which it was found; precisions: of its finder.
    """
    parts = []
    for what, gap in gaps.items():
        accuracy = by_sign(gap, above="higher", below="lower", unclear="not clearly different")
        precision = precisions[what]
        trust = with_interval(precision) if _is_known(precision) else "unknown"
        about = f"difference {with_interval(gap)}, {pluralise(images[what], 'image')}, precision {trust}"
        parts.append(f"{accuracy} with {ONE.get(what, what)} ({about})")
    return (
        "On images in which an artefact was found, compared with other images of the same diagnoses, the accuracy of "
        f"the {network} is {join(parts)}."
    )


def cause(gap: Mapping, removed: Mapping, precision: Mapping | None) -> str:
    """Whether the artefact itself moves answers.

    gap, precision: of the artefact, as in `found_images`; removed: answers that painting over changes, minus those of
    counterparts. Only a finder that can be trusted has painted over the artefact.
    """
    moves = clear_sign(removed) == 1
    what = "the artefact" if finder(precision) == "trustworthy" else "what was found"
    if clear_sign(gap) == -1:
        return f"{what} is part of it" if moves else f"not clearly because of {what}"
    return f"painting over {what} changes some answers" if moves else "no clear effect"


def answer(changed: pd.DataFrame, excess: pd.DataFrame, network: str) -> str:
    """The answer to the notebook's question. changed, excess: as in `worst_artefact`, with all changes in `changed`."""
    harmless = changed.loc[["mirror image", "shift"], "value"].astype(float)
    pasted = changed["value"].drop(harmless.index).astype(float)
    found = [f"{ONE.get(what, what)} in {percent(share)}" for what, share in pasted.items()]
    more = [what for what in pasted.index if clear_sign(excess.loc[what]) == 1]
    named = join(ONE.get(what, what) for what in more).capitalize()
    clearer = f"{named} {'does' if len(more) == 1 and more[0] in ONE else 'do'}" if more else "None of them does"
    return (
        f"{'Yes' if more else 'Not clearly'}. Pasted on an image, artefacts change the answer of the {network}: "
        f"{join(found)} of the images. {clearer} so clearly more often than a shift by two pixels "
        f"({percent(harmless['shift'])}). A mirror image changes {percent(harmless['mirror image'])} of the answers."
    )


def _is_known(precision: Mapping | None) -> bool:
    return precision is not None and pd.notna(precision["value"])
