"""Conclusions of 08_leakage: which protocols flatter, and by how much."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, counted, listed, percent, with_interval

GOAL = 0.94  # the accuracy that published work claims
COARSE = 0.1  # from this half-width of an interval on, a study is too small for the question
RESULT = "[HAM10000](../results/ham10000_cpu/notebooks/08_leakage.ipynb)"


def reading(beyond: Mapping) -> str:
    """What to make of a protocol. beyond: its inflation minus that of the split by lesion."""
    return by_sign(beyond, above="flatters", below="flatters less", unclear="no clear effect")


def sharing(share: float) -> str:
    """What to make of the share of claimed images with a sibling or copy in training."""
    if not share:
        return "clean"
    return "most of the test was seen before" if share > 0.5 else "part of the test was seen before"


def split_by_image(inflations: pd.DataFrame) -> str:
    """Whether splitting by image alone inflates the score. inflations: by `measure_inflation`."""
    value = {name: inflations.loc[(name, "inflation"), "value"] for name in ("by image", "by lesion")}
    beyond = inflations.loc[("by image", "beyond")]
    verdict = by_sign(beyond, above="inflates", below="lowers", unclear="does not clearly inflate")
    return (
        f"Splitting by image alone {verdict} the score: claimed minus true balanced accuracy is "
        f"{value['by image']:.3f} when images are split and {value['by lesion']:.3f} when lesions are split, a "
        f"difference of {with_interval(beyond)}."
    )


def worst_protocol(inflations: pd.DataFrame) -> str:
    """The protocol that flatters most, or that none does clearly. inflations: by `measure_inflation`."""
    beyond = inflations.xs("beyond", level="what").iloc[1:]
    worst = beyond["value"].idxmax()
    claimed, true, more = (with_interval(inflations.loc[(worst, what)]) for what in ("claimed", "true", "beyond"))
    verdict = f"No protocol clearly inflates the score. The largest effect is that of *{worst}*"
    if clear_sign(beyond.loc[worst]) == 1:
        verdict = f"The protocol *{worst}* inflates the score most"
    return (
        f"{verdict}: it claims a balanced accuracy of {claimed}, the true one is {true}, and the inflation exceeds "
        f"that of the split by lesion by {more}."
    )


def resolution(inflations: pd.DataFrame, images: int) -> str:
    """How large an inflation has to be before the unseen images show it. inflations: by `measure_inflation`."""
    beyond = inflations.xs("beyond", level="what").iloc[1:]
    half = ((beyond["high"] - beyond["low"]) / 2).median()
    text = f"On {counted(images, 'unseen image')}, an inflation has to exceed about {half:.2f} to be clear."
    small = f" Smaller ones stay hidden: this page shows how the experiment works, and that of {RESULT} what it found."
    return text + small if half > COARSE else text


def goal_reached(claimed: Mapping, true: Mapping, network: str) -> str:
    """Whether a network's claimed accuracy gets to GOAL, and its accuracy on unseen lesions."""
    reached = "reaches" if claimed["value"] >= GOAL else "does not reach"
    return (
        f"The {network} {reached} the published {percent(GOAL)}: after copying rare images, splitting by image and "
        f"choosing the epoch on test, it claims an accuracy of {with_interval(claimed)}; on unseen lesions it has "
        f"{with_interval(true)}."
    )


def answer(goals: Mapping[str, tuple[Mapping, Mapping]], beyond: Mapping) -> str:
    """The answer to the notebook's question. goals: claimed and true accuracy by network; beyond: split by image."""
    best = max(goals, key=lambda name: goals[name][0]["value"])
    claimed, true = goals[best]
    image = by_sign(beyond, above="also inflates", below="lowers", unclear="does not clearly inflate")
    way = f"together do not reach {percent(GOAL)} here but still claim"
    if claimed["value"] >= GOAL:
        way = "are enough together to claim"
    return (
        f"Copying rare images, splitting by image and choosing the epoch on test {way} an accuracy of "
        f"{claimed['value']:.3f} ({best}); on unseen lesions {true['value']:.3f} is left. Splitting by image alone "
        f"{image} the score."
    )


def title(inflations: pd.DataFrame) -> str:
    """The title of the figure of claims and truths. inflations: by `measure_inflation`."""
    beyond = inflations.xs("beyond", level="what").iloc[1:]
    clear = sum(clear_sign(row) == 1 for _, row in beyond.iterrows())
    return f"{clear or 'None'} of {len(beyond)} protocols clearly {'inflates' if clear < 2 else 'inflate'} the score"


def where_it_sits(found: pd.DataFrame) -> str:
    """Whether images that were seen in training are answered better than comparable ones that were not.

    found: index protocol and kind of images, see the notebook; columns value, low, high.
    """
    rows = _differences(found)
    if not rows:
        return "For no protocol are there enough comparable images to say where an inflation comes from (fewer than 5)."
    largest = max(rows, key=lambda name: rows[name]["value"])
    clear = [f"*{name}*" for name, row in rows.items() if clear_sign(row) == 1]
    where = (
        f"For {listed(clear)}, claimed images that were seen in training are"
        if clear
        else ("For no protocol are claimed images that were seen in training")
    )
    return (
        f"{where} clearly answered more accurately than comparable ones; the largest difference, for *{largest}*, is "
        f"{with_interval(rows[largest])}."
    )


def matched_title(found: pd.DataFrame) -> str:
    """The title of the figure of images seen in training. found: see `where_it_sits`."""
    rows = _differences(found).values()
    clear = sum(clear_sign(row) == 1 for row in rows)
    return f"Images seen in training are clearly answered better in {clear} of {counted(len(rows), 'protocol')}"


def _differences(found: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: row for (name, kind), row in found.iterrows() if kind == "difference"}


def epochs_title(histories: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure by epoch, from the protocol that claims most. histories: see the figure."""
    kept = {name: table.loc[table["val_balanced_accuracy"].idxmax()] for name, table in histories.items()}
    name = max(kept, key=lambda name: kept[name]["claimed_accuracy"])
    return (
        f"{name}: the epoch that is kept claims {kept[name]['claimed_accuracy']:.2f}; on unseen lesions it has "
        f"{kept[name]['test_accuracy']:.2f}"
    )
