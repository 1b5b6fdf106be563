"""Conclusions of 15_external_validation: whether models do as well elsewhere, and why not."""

from collections.abc import Mapping

from helpers.sentences import by_sign, clear_sign, join, with_interval


def calibration(excess: Mapping[str, Mapping], images: Mapping[str, int]) -> str:
    """Whether calibrated probabilities of malignancy hold. excess: stated minus true share of malignant images."""
    words = {"above": "too high", "below": "too low", "unclear": "not clearly too high or too low"}
    judged = [
        f"{by_sign(one, **words)} on {name} ({with_interval(one)}, n = {images[name]:,})"
        for name, one in excess.items()
    ]
    return f"The calibrated probability of malignancy is on average {join(judged)}."


def answer(model: str, changes: Mapping[str, Mapping], same_mix: Mapping[str, Mapping]) -> str:
    """The answer to the notebook's question.

    changes: the AUC for malignancy outside minus inside, by set; same_mix: that difference with the study's mix of
    diagnoses.
    """
    lower = [name for name, one in changes.items() if clear_sign(one) == -1]
    holds = [name for name in changes if name not in lower]
    if not lower:
        return f"As far as these sets show, yes: the AUC for malignancy of {model} is not clearly lower on any of them."
    rest = f" and not clearly lower on {join(holds)}" if holds else ""
    stays = [name for name in lower if clear_sign(same_mix[name]) == -1]
    why = f"stays clearly lower on {join(stays)}" if stays else "is no longer clearly lower there"
    return (
        f"Not everywhere: the AUC for malignancy of {model} is clearly lower on {join(lower)}{rest}. "
        f"With the study's mix of diagnoses it {why}."
    )
