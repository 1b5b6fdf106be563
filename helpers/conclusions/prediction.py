"""Conclusions of 13_prediction: abstention, calibration, and the two readings of a probability."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, percent, pluralise, with_interval

STOPPED = 0.9  # from this share of images without an answer, or with a warning, on, a way to spoil them counts so
FIGURES = {
    "abstained": "malignant images without an answer",
    "missed": "malignant images called benign",
    "missed melanomas": "melanomas called benign",
}


def abstention(figures: Mapping[str, Mapping], difference: Mapping) -> str:
    """What abstention brings. figures: as measured for the deployment; difference: of the two error rates."""
    verdict = by_sign(
        difference,
        above="The model abstains where it would be wrong more often",
        below="The model abstains where it would be right more often",
        unclear="It is not clear that the model abstains where it would be wrong more often",
    )
    wrong = {name: with_interval(figures[f"error rate of {name}"]) for name in ("answers", "abstentions")}
    return (
        f"{verdict}: it answers {with_interval(figures['coverage'])} of "
        f"{pluralise(figures['coverage']['images'], 'test image')}, with an error rate of {wrong['answers']}. On the "
        f"others it would have an error rate of {wrong['abstentions']}."
    )


def confident_half(curves: Mapping[str, pd.DataFrame], images: int) -> str:
    """Two lines on the share of wrong answers among the more confident half. curves: see `risk_coverage`."""
    risks = {name: curve.iloc[(curve["coverage"] - 0.5).abs().argmin()]["risk"] for name, curve in curves.items()}
    by = " and ".join(f"{percent(risk)} by {name}" for name, risk in risks.items())
    return f"In the more confident half of {pluralise(images, 'image')},\n{by} are wrong"


def confidence(chosen: str, other: str, gaps: Mapping[str, Mapping]) -> str:
    """Which confidence score is deployed, and what that brings. gaps: its mean risk minus the other's, by part."""
    words = {"above": "clearly higher than", "below": "clearly lower than", "unclear": "not clearly different from"}
    is_so = {part: f"{by_sign(gap, **words)} that of the {other}" for part, gap in gaps.items()}
    return (
        f"The deployment uses the {chosen}, which has the lower mean risk on validation. Its mean risk is "
        f"{is_so['validation']} on validation (difference {with_interval(gaps['validation'])}) and {is_so['test']} on "
        f"test ({with_interval(gaps['test'])})."
    )


def price_of_abstention(abstained: Mapping) -> str:
    """What abstention costs. abstained: the share of malignant images without an answer, with images."""
    images = pluralise(abstained["images"], "malignant image")
    if not abstained["value"]:
        return f"None of the {images} is left without an answer."
    return f"The price of abstention: {with_interval(abstained)} of the {images} get no answer, so they are not found."


def calibration_error(excess: Mapping) -> str:
    """Stated minus true share of malignant images, in words."""
    return by_sign(excess, above="overstates malignancy", below="understates malignancy", unclear="no clear error")


def calibration(alone: Mapping, biased: Mapping, images: int) -> str:
    """What the biases are for. alone, biased: stated minus true share, with the temperature alone and with biases."""
    return (
        f"With a temperature alone the model {_states(alone)} ({with_interval(alone)}); with a bias per class as well "
        f"it {_states(biased)} ({with_interval(biased)}, {pluralise(images, 'test image')})."
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


def choice(gain: Mapping, recall: Mapping[str, Mapping]) -> str:
    """What it costs to print the most probable diagnosis, which the program does.

    gain: in balanced accuracy on validation, by prevalence minus balanced; recall: the share of the malignant images
    that get a malignant diagnosis, by reading.
    """
    verb = by_sign(gain, above="gains", below="costs", unclear="does not clearly change the")
    return (
        f"The program prints the most probable diagnosis. On validation this {verb} balanced accuracy "
        f"({with_interval(gain)}): of the malignant images there, it calls {with_interval(recall['by prevalence'])} "
        f"malignant, the balanced reading {with_interval(recall['balanced'])}. Neither reading decides whether a "
        "lesion is suspicious; the summed probability of the malignant classes does."
    )


def scale(limit: float, figures: Mapping[str, Mapping[str, Mapping]], gain: Mapping, *, images: int) -> str:
    """What is gained or lost where the calibrated probability decides what is suspicious.

    limit: the operating point. figures: on test, of the scores `calibrated` and `before calibration` and of their
    `difference`. gain: in AUC on validation. images: of the test.
    """
    verb = {
        part: by_sign(one, above="clearly better", below="clearly worse", unclear="not clearly better or worse")
        for part, one in (("validation", gain), ("test", figures["difference"]["malignant_auc"]))
    }
    deployed = {name: with_interval(one) for name, one in figures["calibrated"].items()}
    return (
        f"A lesion is called suspicious if its calibrated probability is {100 * limit:.1f} % or more: sensitivity "
        f"{deployed['malignant_sensitivity']}, specificity {deployed['malignant_specificity']} on "
        f"{pluralise(images, 'test image')}. The calibrated score separates malignant from benign "
        f"{verb['validation']} than the uncalibrated one on validation (difference in AUC {with_interval(gain)}) and "
        f"{verb['test']} on test ({with_interval(figures['difference']['malignant_auc'])})."
    )


def non_lesions(rules: pd.DataFrame, count: int) -> str:
    """How well the rule of the deployment stops what is no lesion.

    rules: the share without an answer, one row per kind, test images first, and one column per rule, the deployment's
    first; count: pictures of each other kind.
    """
    rule, *others = rules.columns
    drawn = (rules.iloc[1:].sum() * count).round().astype(int)
    best = drawn[others].idxmax()
    return (
        f"Of {pluralise(count * (len(rules) - 1), 'drawn picture')} that show no lesion, the {rule} stops "
        f"{drawn[rule]:,}; the best other rule, the {best}, stops {drawn[best]:,}. The deployment's rule also stops "
        f"{percent(rules[rule].iloc[0])} of the test images."
    )


def fault_verdict(shares: pd.DataFrame) -> str:
    """What to make of a way to spoil images. shares: with the rows `no answer` and `warning`."""
    stopped, warned = shares.loc["no answer", "value"], shares.loc["warning", "value"]
    passes = (1 - stopped) * (1 - warned) if stopped < 1 else 0.0  # of none that is answered, no share has a warning
    if stopped >= STOPPED:
        return "stopped"
    return "stopped or warned of" if passes <= 1 - STOPPED else f"{percent(passes)} pass without a warning"


def worst_fault(ways: Mapping[str, pd.DataFrame]) -> str:
    """What passes of images that were spoilt. ways: the shares of `measure_spoilt` by way, images as they are first."""
    (plain, *_), missed = ways, {name: shares.loc["missed"] for name, shares in ways.items()}
    spoils = [name for name in ways if name != plain]
    worst = max(spoils, key=lambda name: missed[name]["value"])
    stopped = sum(ways[name].loc["no answer", "value"] >= STOPPED for name in spoils)
    images = pluralise(int(missed[worst]["images"]), "malignant image")
    danger = (
        f"The most dangerous way is *{worst}*: {with_interval(missed[worst])} of {images} are then called benign "
        f"without a warning, compared with {with_interval(missed[plain])} unspoilt."
        if missed[worst]["value"] > missed[plain]["value"]
        else f"In no way are more of the {images} called benign without a warning than unspoilt, "
        f"{with_interval(missed[plain])}."
    )
    return (
        f"Of {pluralise(len(spoils), 'way')} to spoil an image, {stopped} are stopped: at least {percent(STOPPED)} of "
        f"such images get no answer. {danger}"
    )


def answer(figures: Mapping[str, Mapping], rules: pd.DataFrame) -> str:
    """The answer to the notebook's question. figures: as in `abstention`; rules: as in `non_lesions`."""
    shares = {
        name: percent(figures[name]["value"])
        for name in ("coverage", "error rate of answers", "error rate without abstention")
    }
    return (
        f"An answer with calibrated probabilities for {shares['coverage']} of the images; "
        f"{shares['error rate of answers']} of these answers are wrong, compared with "
        f"{shares['error rate without abstention']} if all were answered. Of drawn pictures that show no lesion, "
        f"{percent(rules.iloc[1:, 0].mean())} get no answer."
    )


def _states(excess: Mapping) -> str:
    return by_sign(
        excess,
        above="overstates the share of malignant images",
        below="understates the share of malignant images",
        unclear="does not clearly overstate or understate the share of malignant images",
    )
