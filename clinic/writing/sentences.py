"""Sentences about an answer, and about how well a deployment does on test."""

from clinic.answering.answers import Answer
from clinic.answering.deployment import ABSTENTION, DIFFERENCE, MALIGNANT, Deployment
from clinic.writing.codes import ABSTAINS, risk_code
from helpers.sentences import with_interval, wording

# Why the answer need not be the most probable diagnosis after calibration; 12_prediction measures what each costs.
READING = (
    "It is read as if all diagnoses were equally frequent, so that rare and malignant ones are not missed; by their "
    "frequency in the study, {} is more probable."
)


def describe_answer(answer: Answer, deployment: Deployment) -> str:
    """The model's answer for an image, read as if all diagnoses were equally frequent, and why."""
    if answer.abstained:
        limit = f"energy {answer.energy:.2f}, below {deployment.abstention_threshold:.2f}"
        return f"{ABSTAINS.meaning} ({limit}). Show the image to a person."
    answered, likeliest = int(answer.probabilities.argmax()), int(answer.calibrated.argmax())
    reading = "" if answered == likeliest else f" {READING.format(deployment.classes[likeliest].name)}"
    named = [
        f"{deployment.classes[k].name} {percent(answer.calibrated[k])}" for k in dict.fromkeys((answered, likeliest))
    ]
    return (
        f"Answer: {deployment.classes[answered].name}.{reading} Calibrated probabilities: {', '.join(named)}, "
        f"malignant {percent(answer.calibrated_malignancy)}. {risk_code(answer.suspicious).meaning} "
        f"(uncalibrated score {answer.malignancy:.3f}, operating point {deployment.threshold:.3f})."
    )


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; only 0 itself is 0 %, and only 1 itself 100 %."""
    rounded = f"{share:.0%}".replace("%", " %")
    if rounded == "0 %" and share > 0:
        return "<1 %"
    return ">99 %" if rounded == "100 %" and share < 1 else rounded


def describe_operating_point(deployment: Deployment) -> str:
    """The operating point, and its sensitivity and specificity on test."""
    sensitivity, specificity, abstained = (_percent(deployment.malignant[name]) for name in MALIGNANT)
    return (
        f"The operating point, set on validation, is a summed probability of the malignant classes of "
        f"{deployment.threshold:.4f} before calibration. On the test images that the model answers, its sensitivity "
        f"for malignant lesions is {sensitivity} and its specificity {specificity}. The model abstains on {abstained} "
        f"of the malignant images and so misses them."
    )


def describe_malignant_classes(deployment: Deployment) -> str:
    """Which classes count as malignant."""
    listed = ", ".join(one.name for one in deployment.classes if one.malignant)
    early = [name for name in ("actinic keratosis", "Bowen's disease") if name in listed]
    word = "are pre-malignant or in situ" if len(early) > 1 else "is pre-malignant"
    return f"Counted as malignant: {listed}" + (f"; {' and '.join(early)} {word}." if early else ".")


def describe_abstention(deployment: Deployment) -> str:
    """The costs and benefits of abstention, and the data on which they were measured."""
    coverage, without, answers, abstentions, difference = (_percent(deployment.abstention[name]) for name in ABSTENTION)
    missing = deployment.missing_images
    return (
        f"On test the model answers {coverage} of the images, {answers} of them wrongly. Of the others it would answer "
        f"{abstentions} wrongly; difference {difference}, {wording(deployment.abstention[DIFFERENCE])}. Without "
        f"abstention, {without} of all answers would be wrong."
        + (f" {missing:,} images of the publisher's list were missing." if missing else "")
    )


def _percent(figure: dict) -> str:
    """A proportion with its interval, in percent."""
    if figure["value"] is None:
        return "–"
    scaled = {key: None if figure[key] is None else 100 * figure[key] for key in ("value", "low", "high")}
    return f"{with_interval(scaled, 1)} %"
