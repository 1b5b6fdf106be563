"""Conclusions of 13_prediction: abstention, calibration, and the two readings of a probability."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, counted, with_interval


def abstention(figures: Mapping[str, Mapping], difference: Mapping) -> str:
    """What abstention brings. figures: as measured for the deployment; difference: of the two error rates."""
    verdict = by_sign(
        difference,
        above="abstains where it would be wrong more often",
        below="abstains where it would be right more often",
        unclear="might as well abstain at random",
    )
    wrong = {name: with_interval(figures[f"error rate of {name}"]) for name in ("answers", "abstentions")}
    return (
        f"The model {verdict}: it answers {with_interval(figures['coverage'])} of "
        f"{counted(figures['coverage']['images'], 'test image')}, of which {wrong['answers']} wrongly, and would "
        f"answer {wrong['abstentions']} of the others wrongly."
    )


def missed(abstained: Mapping) -> str:
    """What abstention costs. abstained: the share of malignant images without an answer, with images."""
    if not abstained["value"]:
        return f"None of the {counted(abstained['images'], 'malignant image')} is left without an answer."
    return (
        f"Abstention has a price: {with_interval(abstained)} of {counted(abstained['images'], 'malignant image')} get "
        "no answer, and so are not found."
    )


def better_score(difference: Mapping) -> str:
    """Which score abstains better on known diagnoses. difference: mean risk by energy minus by maximum probability."""
    verdict = by_sign(
        difference,
        above="the maximum probability would be the better score",
        below="the energy is the better score",
        unclear="the two scores are equally good",
    )
    return (
        f"On known diagnoses {verdict}: mean risk over all coverages, energy minus maximum probability, "
        f"{with_interval(difference)}."
    )


def stated(excess: Mapping) -> str:
    """Stated minus true share of malignant images, in words."""
    return by_sign(excess, above="overstates malignancy", below="understates malignancy", unclear="no clear error")


def calibration(alone: Mapping, biased: Mapping, images: int) -> str:
    """What the biases are for. alone, biased: stated minus true share, with the temperature alone and with biases."""
    return (
        f"With a temperature alone the model {_states(alone)} ({with_interval(alone)}); with a bias per class as well "
        f"it {_states(biased)} ({with_interval(biased)}, {counted(images, 'test image')})."
    )


def readings(different: Mapping, right: Mapping[str, Mapping], gains: Mapping[str, Mapping]) -> str:
    """Where the two readings differ and what each costs.

    different: the share of images with two answers; right: the share that each reading gets right there, by reading;
    gains: by prevalence minus balanced, of accuracy and balanced_accuracy.
    """
    changes = {
        name: by_sign(gain, above="gains", below="loses", unclear="does not measurably change")
        for name, gain in gains.items()
    }
    return (
        f"For {with_interval(different)} of the test images the balanced answer is not the most probable diagnosis; "
        f"there it is right for {right['balanced']['value']:.0%}, the most probable one for "
        f"{right['by prevalence']['value']:.0%}. Reading by prevalence {changes['accuracy']} accuracy "
        f"({with_interval(gains['accuracy'])}) and {changes['balanced_accuracy']} balanced accuracy "
        f"({with_interval(gains['balanced_accuracy'])})."
    ).replace("%", " %")


def choice(gains: Mapping[str, Mapping]) -> str:
    """Which reading the report takes, and why. gains: as in `readings`."""
    if gains["balanced_accuracy"]["value"] < 0:
        return (
            "The clinic's report takes the balanced answer, because it is there to find rare and malignant diagnoses, "
            "and states the calibrated probability of both."
        )
    return "Here the reading by prevalence costs nothing on rare diagnoses, so nothing speaks for the balanced answer."


def strangers(rules: pd.DataFrame) -> str:
    """How well the rule of the deployment stops what is no lesion.

    rules: the share without an answer, one row per kind, test images first, and one column per rule, the deployment's
    first.
    """
    rule, *others = rules.columns
    drawn = rules.iloc[1:].mean()
    best = drawn[others].idxmax()
    verdict = "stops more than" if drawn[rule] > drawn[best] else "does not stop more than"
    return (
        f"The {rule} {verdict} any other rule: {_percent(drawn[rule])} of drawn pictures that are no lesion get no "
        f"answer, and {_percent(drawn[best])} by the {best}. Of the test images {_percent(rules[rule].iloc[0])} get "
        "none."
    )


def spoilt(table: pd.DataFrame) -> str:
    """What passes of images that were spoilt. table: one row per way, as they are first."""
    plain, ways = table.iloc[0], table.iloc[1:]
    stopped, worst = (ways["no answer"] >= 0.9).sum(), ways["missed"].idxmax()
    return (
        f"Of {counted(len(ways), 'way')} to spoil an image, {stopped} get no answer for at least 90 % of the images. "
        f"The others are answered: of malignant images, {_percent(ways['missed'][worst])} are called benign without a "
        f"warning after *{worst}*, and {_percent(plain['missed'])} as they are."
    )


def answer(coverage: Mapping, errors: Mapping, rules: pd.DataFrame) -> str:
    """The answer to the notebook's question. rules: as in `strangers`."""
    stopped = rules.iloc[1:, 0].mean()
    rest = f"{_percent(stopped)} of pictures that are no lesion get no answer."
    return (
        f"It gets an answer, with calibrated probabilities, for {_percent(coverage['value'])} of the images, of which "
        f"{_percent(errors['value'])} are wrong. {rest}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _states(excess: Mapping) -> str:
    return by_sign(
        excess,
        above="overstates the share of malignant images",
        below="understates the share of malignant images",
        unclear="states the share of malignant images about right",
    )
