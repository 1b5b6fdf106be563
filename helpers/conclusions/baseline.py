"""Conclusions of 03_cnn_baseline: what a plain CNN reaches, and where it fails."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, join, percent, pluralise, with_interval


def beside_colour(lead: Mapping, colour: Mapping, images: int, *, trainings: int) -> str:
    """Whether the CNN beats the colours alone. lead: its balanced accuracy minus theirs, a mean over its trainings."""
    verb = by_sign(lead, above="beats", below="loses to", unclear="cannot be separated from")
    return (
        f"The CNN {verb} a logistic regression on colour, which reaches a balanced accuracy of "
        f"{with_interval(colour)}: the difference is {with_interval(lead)} ({_mean(trainings)}, {images:,} test "
        "images)."
    )


def malignancy(test: Mapping[str, Mapping], network: str, images: int, *, sensitivity: float) -> str:
    """How well malignant images are found. test: scores; sensitivity: at which the threshold was set."""
    return (
        f"The {network} has a macro AUC of {with_interval(test['macro_auc'])} and an AUC for malignancy of "
        f"{with_interval(test['malignant_auc'])}; at the threshold set on validation for a sensitivity of "
        f"{percent(sensitivity)}, its sensitivity on test is {with_interval(test['malignant_sensitivity'], 2)} and its "
        f"specificity {with_interval(test['malignant_specificity'], 2)} ({images:,} test images)."
    )


def lowest(areas: Mapping[str, Mapping], codes: list[str]) -> str:
    """The classes whose AUC is lowest, all that share it as it is shown, to two digits. areas: by class code."""
    shown = {code: f"{areas[code]['auc']:.2f}" for code in codes}
    return join(code for code in codes if shown[code] == min(shown.values()))


def taken_for(confusion: pd.DataFrame, code: str) -> str:
    """What a diagnosis is most often taken for, all classes that tie. confusion: as in `hardest`."""
    wrong = confusion.loc[code].drop(code)
    return f"most often taken for {join(wrong.index[wrong == wrong.max()])}" if wrong.any() else "never missed"


def hardest(recalls: Mapping[str, Mapping], confusion: pd.DataFrame, network: str) -> str:
    """The diagnosis that is found least often, and what it is taken for.

    recalls: with intervals, by class code; confusion: counts, one row per true class, one column per answer.
    """
    code = min(recalls, key=lambda code: recalls[code]["value"])
    row = confusion.loc[code]
    wrong = row.drop(code)
    each = " each" if (wrong == wrong.max()).sum() > 1 else ""
    counts = f" ({wrong.max()} of {row.sum()}{each})" if wrong.any() else ""
    return (
        f"The hardest diagnosis for the {network} is {code}, with a recall of {with_interval(recalls[code], 2)} on "
        f"{pluralise(row.sum(), 'test image')}; it is {taken_for(confusion, code)}{counts}."
    )


def confident(excess: Mapping) -> str:
    """How confident a network is, from its mean probability minus its accuracy."""
    words = {"above": "overconfident", "below": "underconfident", "unclear": "about as confident as it is right"}
    return f"{by_sign(excess, **words)} on average"


def confidence(excess: Mapping, accuracy: float, network: str, *, images: int) -> str:
    """Whether stated probabilities fit the accuracy. excess: mean probability minus accuracy."""
    return (
        f"The {network} gives its answers a mean probability of {percent(accuracy + excess['value'])}, and "
        f"{percent(accuracy)} of them are right, so it is {confident(excess)}: the difference is "
        f"{with_interval(excess)} on {images:,} test images."
    )


def answer(reached: Mapping, lead: Mapping, colour: Mapping, *, trainings: int, images: int) -> str:
    """The answer to the notebook's question. reached: the CNN's balanced accuracy; lead: minus that of the colours."""
    more = by_sign(lead, above="clearly more than", below="clearly less than", unclear="not clearly more than")
    return (
        f"A plain CNN reaches a balanced accuracy of {with_interval(reached)} on {images:,} images of unseen lesions "
        f"({_mean(trainings)}), {more} a logistic regression on colour ({colour['value']:.3f})."
    )


def _mean(trainings: int) -> str:
    return f"mean of {trainings} trainings" if trainings > 1 else "one training"
