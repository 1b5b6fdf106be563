"""Conclusions of 15_external_validation: whether models do as well elsewhere, and why not."""

from collections.abc import Mapping
from math import hypot

from helpers.sentences import by_sign, clear_sign, join, with_interval


def calibration(excess: Mapping[str, Mapping], images: Mapping[str, int]) -> str:
    """Whether calibrated probabilities of malignancy hold. excess: stated minus true share of malignant images."""
    words = {"above": "too high", "below": "too low", "unclear": "not clearly too high or too low"}
    judged = [
        f"{by_sign(one, **words)} on {name} ({with_interval(one)}, n = {images[name]:,})"
        for name, one in excess.items()
    ]
    return f"The calibrated probability of malignancy is on average {join(judged)}."


def abstention(abstained: Mapping[str, Mapping]) -> str:
    """How often a model abstains. abstained: the share of images, by set, the internal test first."""
    (inside, share), *others = abstained.items()
    words = {"above": "more often", "below": "less often", "unclear": "not clearly more or less often"}
    judged = [f"{by_sign(_apart(one, share), **words)} on {name} ({with_interval(one)})" for name, one in others]
    return f"The model abstains on {with_interval(share)} of the images of the {inside}, {join(judged)}."


def answer(model: str, changes: Mapping[str, Mapping[str, Mapping]], same_mix: Mapping[str, Mapping]) -> str:
    """The answer to the notebook's question.

    changes: figures outside minus inside, by figure and set, the AUC for malignancy first; same_mix: the difference of
    that AUC with the study's mix of diagnoses.
    """
    lower = {
        figure: [name for name, one in by_set.items() if clear_sign(one) == -1] for figure, by_set in changes.items()
    }
    if not any(lower.values()):
        return (
            f"As far as these sets show, yes: no figure of {model} is clearly lower on any of them ({join(changes)})."
        )
    places = join(f"{figure} on {join(names)}" for figure, names in lower.items() if names)
    auc = next(iter(changes))
    stays = [name for name in lower[auc] if clear_sign(same_mix[name]) == -1]
    why = f"stays clearly lower on {join(stays)}" if stays else "is no longer clearly lower there"
    mix = (
        f" With the study's mix of diagnoses, {auc} {why}."
        if lower[auc]
        else f" {auc[0].upper()}{auc[1:]} is clearly lower on none."
    )
    everywhere = all(any(name in names for names in lower.values()) for name in changes[auc])
    return f"{'No' if everywhere else 'Not everywhere'}. For {model}, these scores are clearly lower: {places}.{mix}"


def _apart(outside: Mapping, inside: Mapping) -> dict:
    """The difference of two independent shares with its interval (Newcombe, Stat. Med. 1998, method 10)."""
    difference = outside["value"] - inside["value"]
    return {
        "value": difference,
        "low": difference - hypot(outside["value"] - outside["low"], inside["high"] - inside["value"]),
        "high": difference + hypot(outside["high"] - outside["value"], inside["value"] - inside["low"]),
    }
