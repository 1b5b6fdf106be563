"""Conclusions of 13_prediction: abstention, calibration, and the two readings of a probability."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, counted, percent, with_interval

STOPPED = 0.9  # from this share of images without an answer on, a way to spoil images counts as stopped


def abstention(figures: Mapping[str, Mapping], difference: Mapping) -> str:
    """What abstention brings. figures: as measured for the deployment; difference: of the two error rates."""
    verdict = by_sign(
        difference,
        above="abstains where it would be wrong more often",
        below="abstains where it would be right more often",
        unclear="does not clearly abstain where it would be wrong more often",
    )
    wrong = {name: with_interval(figures[f"error rate of {name}"]) for name in ("answers", "abstentions")}
    return (
        f"The model {verdict}: it answers {with_interval(figures['coverage'])} of "
        f"{counted(figures['coverage']['images'], 'test image')}, of which {wrong['answers']} wrongly, and would "
        f"answer {wrong['abstentions']} of the others wrongly."
    )


def half(curves: Mapping[str, pd.DataFrame], images: int) -> str:
    """Two lines on the share of wrong answers among the more confident half. curves: see `risk_coverage`."""
    risks = {name: curve.iloc[(curve["coverage"] - 0.5).abs().argmin()]["risk"] for name, curve in curves.items()}
    by = " and ".join(f"{percent(risk)} by {name}" for name, risk in risks.items())
    return f"Wrong in the more confident half of {counted(images, 'image')}:\n{by}"


def missed(abstained: Mapping) -> str:
    """What abstention costs. abstained: the share of malignant images without an answer, with images."""
    if not abstained["value"]:
        return f"None of the {counted(abstained['images'], 'malignant image')} is left without an answer."
    return (
        f"The price of abstention: {with_interval(abstained)} of the {counted(abstained['images'], 'malignant image')} "
        "get no answer, so they are not found."
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
        name: by_sign(gain, above="gains", below="loses", unclear="does not clearly change")
        for name, gain in gains.items()
    }
    return (
        f"For {with_interval(different)} of the test images the balanced answer is not the most probable diagnosis; "
        f"there it is right for {percent(right['balanced']['value'])}, the most probable one for "
        f"{percent(right['by prevalence']['value'])}. Reading by prevalence {changes['accuracy']} accuracy "
        f"({with_interval(gains['accuracy'])}) and {changes['balanced_accuracy']} balanced accuracy "
        f"({with_interval(gains['balanced_accuracy'])})."
    )


def choice(gains: Mapping[str, Mapping]) -> str:
    """Which reading the report takes, and why. gains: as in `readings`."""
    if gains["balanced_accuracy"]["value"] < 0:
        return (
            "The clinic's report takes the balanced answer, because it is there to find rare and malignant diagnoses, "
            "and states the calibrated probability of both."
        )
    return "Here the reading by prevalence costs nothing on rare diagnoses, so nothing is gained by the balanced one."


def strangers(rules: pd.DataFrame) -> str:
    """How well the rule of the deployment stops what is no lesion.

    rules: the share without an answer, one row per kind, test images first, and one column per rule, the deployment's
    first.
    """
    rule, *others = rules.columns
    drawn = rules.iloc[1:].mean()
    best = drawn[others].idxmax()
    own, other = percent(drawn[rule]), percent(drawn[best])
    verdict = "as many as" if own == other else "more than" if drawn[rule] > drawn[best] else "fewer than"
    return (
        f"Of drawn pictures that are no lesion, the {rule} stops {own}, {verdict} the best other rule, the {best} "
        f"({other}). It also stops {percent(rules[rule].iloc[0])} of the test images."
    )


def passing(row: Mapping) -> str:
    """What to make of a way to spoil images. row: as in `spoilt`."""
    if row["no answer"] >= STOPPED:
        return "stopped"
    return "answered with a warning" if row["warning"] >= STOPPED else "answered, mostly without a warning"


def spoilt(table: pd.DataFrame) -> str:
    """What passes of images that were spoilt. table: one row per way, as they are first."""
    plain, ways = table.iloc[0], table.iloc[1:]
    stopped, worst = (ways["no answer"] >= STOPPED).sum(), ways["missed"].idxmax()
    return (
        f"Of {counted(len(ways), 'way')} to spoil an image, {stopped} are stopped: at least {percent(STOPPED)} of such "
        f"images get no answer. The most dangerous way is *{worst}*: {percent(ways['missed'][worst])} of the malignant "
        f"images are then called benign without a warning, compared with {percent(plain['missed'])} of the unspoilt."
    )


def answer(coverage: Mapping, errors: Mapping, rules: pd.DataFrame) -> str:
    """The answer to the notebook's question. rules: as in `strangers`."""
    return (
        f"An answer with calibrated probabilities for {percent(coverage['value'])} of the images; "
        f"{percent(errors['value'])} of these answers are wrong. Of pictures that are no lesion, "
        f"{percent(rules.iloc[1:, 0].mean())} get no answer."
    )


def _states(excess: Mapping) -> str:
    return by_sign(
        excess,
        above="overstates the share of malignant images",
        below="understates the share of malignant images",
        unclear="states the share of malignant images about right",
    )
