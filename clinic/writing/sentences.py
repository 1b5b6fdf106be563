"""What an answer says and what it is worth, in words for a reader without statistics."""

from clinic.answering.answers import UNLIKE, Answer
from clinic.answering.deployment import IF_NOT, IF_SUSPICIOUS, PREVALENCE, Deployment
from helpers.study import results_folder

SUSPICIOUS, BENIGN = "Suspicious", "Looks benign"
RARE = 2  # malignant lesions of 100, as in a practice that sees whoever comes
NOT_ALIKE = "No answer: this does not look like the dermatoscopic images that the program learnt from"
NOT_SURE = "No answer: the program is not sure enough about this image"


def describe_answer(answer: Answer) -> str:
    """The answer in one line, without a full stop."""
    if answer.reason:
        return NOT_ALIKE if answer.reason == UNLIKE else NOT_SURE
    return SUSPICIOUS if answer.suspicious else BENIGN


def describe_worth(answer: Answer, deployment: Deployment) -> list[str]:
    """How often the test bore such an answer out, in numbers of 100, and the prevalence that they hold for."""
    share = {name: of_100(figure["value"]) for name, figure in deployment.malignant.items()}
    if answer.abstained:
        coverage = deployment.abstention["coverage"]["value"]
        return [
            f"In the test, {of_100(1 - coverage)} of 100 images got no answer, and {share['abstained']} of 100 "
            "malignant ones. Have somebody look at the lesion itself."
        ]
    key, words = (IF_SUSPICIOUS, "suspicious") if answer.suspicious else (IF_NOT, "benign")
    texts = [
        f"Of 100 images called {words} in the test, {share[key]} were malignant: an average, while the percentages are "
        "those of this image.",
        f"Of 100 malignant images, {share['missed']} were called benign, and {share['abstained']} got no answer.",
        f"All this holds for the mix of lesions in the test, where {share[PREVALENCE]} of 100 images were malignant.",
    ]
    rates = [deployment.malignant[name]["value"] for name in ("sensitivity", "specificity")]
    if answer.suspicious and None not in rates:
        texts[-1] = texts[-1][:-1] + f"; where {RARE} of 100 are, about {of_100(_if_rare(*rates))} of 100 suspicious "
        texts[-1] += "ones would be."
    return texts


def _if_rare(sensitivity: float, specificity: float) -> float:
    """The share of malignant images among those called suspicious, where RARE of 100 are malignant."""
    found, alarms = sensitivity * RARE, (1 - specificity) * (100 - RARE)
    return found / (found + alarms) if found + alarms else 0.0


def describe_total(answer: Answer) -> str:
    """The summed probabilities, with the colours of their bars."""
    return f"Malignant (orange): {percent(answer.calibrated_malignancy)} in all, benign in blue"


def of_100(share: float | None) -> str:
    """A measured share as a number of 100."""
    return "an unknown number" if share is None else f"{100 * share:.0f}"


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; only 0 itself is 0 %, and only 1 itself 100 %."""
    rounded = f"{share:.0%}".replace("%", " %")
    if rounded == "0 %" and share > 0:
        return "<1 %"
    return ">99 %" if rounded == "100 %" and share < 1 else rounded


def describe_malignant_classes(deployment: Deployment) -> str:
    """Which classes count as malignant."""
    listed = ", ".join(one.name for one in deployment.classes if one.malignant)
    early = [name for name in ("actinic keratosis", "Bowen's disease") if name in listed]
    word = "are pre-malignant or in situ" if len(early) > 1 else "is pre-malignant"
    return f"Counted as malignant: {listed}" + (f"; {' and '.join(early)} {word}." if early else ".")


def describe_model(deployment: Deployment) -> str:
    """Which model it was, and where its figures stand with their intervals."""
    card = results_folder(deployment.study).name + "/MODEL_CARD.md"
    missing = deployment.missing_images
    lacking = f" {missing:,} images of the publisher's list were missing from its study." if missing else ""
    return (
        f"Model {deployment.name} of the study {deployment.study}, version {deployment.version}, deployment "
        f"{deployment.checksum[:16]}. Figures with their intervals: results/{card}.{lacking}"
    )
