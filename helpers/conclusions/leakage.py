"""Conclusions of 08_leakage: which protocols flatter, and whether the claim or the true score changes."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, join, percent, pluralise, with_interval

GOAL = 0.94  # the accuracy that a project description promises, see the notebook
COARSE = 0.1  # from this half-width of an interval on, a study is too small for the question
RESULT = "[HAM10000](../results/ham10000_cpu/notebooks/08_leakage.ipynb)"
# What a protocol changes, see `effect`: in a table, and in a sentence with the protocol as its subject.
READINGS = {
    "claim": "flatters: the claim rises",
    "both": "flatters: the claim rises, the true score falls",
    "truth": "the claim stays, the true score falls",
    "either": "flatters, by claim and true score together",
    "less": "flatters less",
    "unclear": "no clear effect",
}
VERBS = {
    "claim": "inflates the claim",
    "both": "inflates the claim and lowers the true score",
    "truth": "lowers the true score without clearly raising the claim",
    "either": "moves claim and true score apart",
    "less": "brings claim and true score closer together",
    "unclear": "does not clearly inflate the claim",
}


def effect(inflations: pd.DataFrame, protocol: str) -> str:
    """What a protocol changes, compared with the split by lesion: a key of READINGS.

    inflations: by `measure_inflation`. `claim`: it flatters, and the claim rises; `truth`: it flatters, but only
    because the true score falls; `both`; `either`: it flatters, but neither change is clear by itself.
    """
    signs = {what: clear_sign(inflations.loc[(protocol, what)]) for what in ("beyond", "claimed_change", "true_change")}
    if signs["beyond"] != 1:
        return "less" if signs["beyond"] == -1 else "unclear"
    raised, lowered = signs["claimed_change"] == 1, signs["true_change"] == -1
    if raised:
        return "both" if lowered else "claim"
    return "truth" if lowered else "either"


def effects(inflations: pd.DataFrame) -> dict[str, str]:
    """The `effect` of each protocol but the first, the split by lesion."""
    return {name: effect(inflations, name) for name in inflations.index.unique("protocol")[1:]}


def sharing(share: float) -> str:
    """What to make of the share of claimed images with a sibling or copy in training."""
    if not share:
        return "clean"
    return "most of the test was seen before" if share > 0.5 else "part of the test was seen before"


def split_by_image(inflations: pd.DataFrame) -> str:
    """Whether splitting by image alone inflates the score. inflations: by `measure_inflation`."""
    claimed, true, beyond = (
        with_interval(inflations.loc[("by image", what)]) for what in ("claimed_change", "true_change", "beyond")
    )
    return (
        f"Splitting by image alone {VERBS[effect(inflations, 'by image')]}: compared with the split by lesion, the "
        f"claimed balanced accuracy changes by {claimed} and the true one by {true}, so the inflation changes by "
        f"{beyond}."
    )


def worst_protocol(inflations: pd.DataFrame) -> str:
    """The protocol that flatters most, and by what, or that none does clearly. inflations: by `measure_inflation`."""
    beyond = inflations.xs("beyond", level="what").iloc[1:]
    worst = beyond["value"].idxmax()
    claimed, true, more = (with_interval(inflations.loc[(worst, what)]) for what in ("claimed", "true", "beyond"))
    verdict = f"No protocol clearly flatters. The largest effect is that of *{worst}*"
    if clear_sign(beyond.loc[worst]) == 1:
        verdict = f"The protocol *{worst}* flatters most and {VERBS[effect(inflations, worst)]}"
    return (
        f"{verdict}: it claims a balanced accuracy of {claimed}, the true one is {true}, and the inflation exceeds "
        f"that of the split by lesion by {more}."
    )


def choice_on_test(inflations: pd.DataFrame, kept: tuple[int, int]) -> str:
    """What choosing the epoch on test changes. inflations: by `measure_inflation`; kept: epoch by validation, by test.

    The protocol is the second one.
    """
    name = inflations.index.unique("protocol")[1]
    rows = [inflations.loc[(name, what)] for what in ("claimed_change", "true_change")]
    words = [by_sign(row, above="clearly higher", below="clearly lower", unclear="no clear change") for row in rows]
    figures = [f"{with_interval(row)} ({word})" for row, word in zip(rows, words, strict=True)]
    return (
        f"Validation keeps epoch {kept[0]}, test keeps epoch {kept[1]}. The claimed balanced accuracy changes by "
        f"{figures[0]}, the true one by {figures[1]}."
    )


def resolution(inflations: pd.DataFrame, images: int) -> str:
    """How large an inflation has to be before the unseen images show it. inflations: by `measure_inflation`."""
    beyond = inflations.xs("beyond", level="what").iloc[1:]
    halves = (beyond["high"] - beyond["low"]) / 2
    size = " to ".join(dict.fromkeys(f"{half:.2f}" for half in (halves.min(), halves.max())))
    text = f"On {pluralise(images, 'unseen image')}, an inflation has to exceed about {size} to be clear."
    small = f" Smaller ones stay hidden: this page shows how the experiment works, and that of {RESULT} what it found."
    return text + small if halves.median() > COARSE else text


def beside_goal(claimed: Mapping[str, Mapping], true: Mapping[str, Mapping], network: str) -> str:
    """Whether a network's claimed accuracy gets to GOAL, and its scores on unseen lesions.

    claimed, true: accuracy and balanced_accuracy, each with its interval.
    """
    reached = "reaches" if claimed["accuracy"]["value"] >= GOAL else "does not reach"
    said, left = (
        f"{with_interval(scores['accuracy'])}, balanced {with_interval(scores['balanced_accuracy'])}"
        for scores in (claimed, true)
    )
    return (
        f"With rare images copied before a split by image, and the epoch chosen on test, the {network} {reached} the "
        f"promised {percent(GOAL)}: it claims an accuracy of {said}; on unseen lesions it has {left}."
    )


def answer(goals: Mapping[str, tuple[Mapping, Mapping]], inflations: pd.DataFrame) -> str:
    """The answer to the notebook's question.

    goals: claimed and true scores by network, as in `beside_goal`; inflations: by `measure_inflation`.
    """
    best = max(goals, key=lambda name: goals[name][0]["accuracy"]["value"])
    (said, balanced), (unseen, true) = ((scores["accuracy"], scores["balanced_accuracy"]) for scores in goals[best])
    way = f"By copying rare images, splitting by image and choosing the epoch on test: the {best} then claims"
    if said["value"] < GOAL:
        way = (
            f"Not in this study: with rare images copied, a split by image and the epoch chosen on test, the {best} "
            f"claims less than {percent(GOAL)},"
        )
    others = [f"the {name} {one['accuracy']['value']:.3f}" for name, (one, _) in goals.items() if name != best]
    claims = [f"{said['value']:.3f}", *others]
    return (
        f"{way} an accuracy of {', '.join(claims)}. On unseen lesions the balanced accuracy of the {best} goes from "
        f"{balanced['value']:.3f} to {with_interval(true)}, its accuracy from {said['value']:.3f} to "
        f"{unseen['value']:.3f}. Splitting by image alone {VERBS[effect(inflations, 'by image')]}."
    )


def title(inflations: pd.DataFrame) -> str:
    """The title of the figure of claims and truths. inflations: by `measure_inflation`."""
    found = list(effects(inflations).values())
    clear, lower = found.count("claim") + found.count("both"), found.count("truth")
    text = f"{clear or 'None'} of {len(found)} protocols clearly {'inflates' if clear < 2 else 'inflate'} the claim"
    return f"{text}; {lower} only {'lowers' if lower < 2 else 'lower'} the true score" if lower else text


def comparable_images(found: pd.DataFrame, claimed: Mapping[str, float]) -> str:
    """How many claimed images have comparable ones.

    found: see `advantage_of_seen`, with images; claimed: by protocol.
    """
    used = {name: f"{row['images']:,.0f} of {claimed[name]:,.0f}" for name, row in _differences(found).items()}
    counts = join(f"{count} for *{name}*" for name, count in used.items())
    return f"Claimed images that could be compared: {counts}."


def advantage_of_seen(found: pd.DataFrame) -> str:
    """Whether images that were seen in training are answered better than comparable ones that were not.

    found: index protocol and kind of images, see the notebook; columns value, low, high.
    """
    rows = _differences(found)
    if not rows:
        return "For no protocol are there enough comparable images to say where an inflation comes from (fewer than 5)."
    clear = {name: row for name, row in rows.items() if clear_sign(row) == 1}
    figures = join(f"{with_interval(row)} for *{name}*" for name, row in (clear or rows).items())
    if not clear:
        return (
            "For no protocol are claimed images that were seen in training answered clearly more accurately than "
            f"comparable ones that were not: the difference{'s are' if len(rows) > 1 else ' is'} {figures}."
        )
    return (
        "Claimed images that were seen in training are answered clearly more accurately than comparable ones that were "
        f"not, in {len(clear)} of {pluralise(len(rows), 'protocol')}: by {figures}."
    )


def matched_title(found: pd.DataFrame) -> str:
    """The title of the figure of images seen in training. found: see `advantage_of_seen`."""
    rows = _differences(found).values()
    clear = sum(clear_sign(row) == 1 for row in rows)
    return f"Images seen in training are clearly answered better in {clear} of {pluralise(len(rows), 'protocol')}"


def _differences(found: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: row for (name, kind), row in found.iterrows() if kind == "difference"}


def epochs_title(histories: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure by epoch, from the protocol that claims most. histories: see the figure."""
    kept = {name: table.loc[table["val_balanced_accuracy"].idxmax()] for name, table in histories.items()}
    name = max(kept, key=lambda name: kept[name]["claimed_accuracy"])
    said, left = (
        f"{kept[name][f'{part}_accuracy']:.2f} (balanced {kept[name][f'{part}_balanced_accuracy']:.2f})"
        for part in ("claimed", "test")
    )
    return f"{name}: the epoch that is kept claims {said}; on unseen lesions it has {left}"
