"""What an answer says and what it is worth, in words for a reader without statistics."""

from clinic.answering.answers import UNLIKE, Answer
from clinic.answering.deployment import IF_NOT, IF_SUSPICIOUS, MISSED, MISSED_MELANOMAS, PREVALENCE, Deployment
from helpers.study import results_folder

SUSPICIOUS, BENIGN = "Suspicious: have this lesion examined", "Looks benign, but this rules nothing out"
RARE = 2  # malignant lesions of 100, as in a practice that sees whoever comes
EARLY = " (pre-malignant or in situ)"
NOT_ALIKE = "No answer: this does not look like the dermatoscopic images that the program learnt from"
NOT_SURE = "No answer: the program is not sure enough about this image"


def describe_answer(answer: Answer) -> str:
    """The answer in one line, without a full stop."""
    if answer.cause:
        return f"No answer: the image {answer.cause}"
    if answer.reason:
        return NOT_ALIKE if answer.reason == UNLIKE else NOT_SURE
    return SUSPICIOUS if answer.suspicious else BENIGN


def describe_worth(answer: Answer, deployment: Deployment) -> list[str]:
    """How often the test bore such an answer out, in numbers of 100, and the prevalence that they hold for."""
    share = {name: figure["value"] for name, figure in deployment.malignant.items()}
    if answer.abstained:
        return _worth_of_none(answer, deployment, share)
    key, words = (IF_SUSPICIOUS, "suspicious") if answer.suspicious else (IF_NOT, "benign")
    average = f"On average, {of_100(share[key])} of 100 images called {words} in the test were malignant."
    mix = f"In the test, {of_100(share[PREVALENCE])} of 100 images were malignant"
    rates = [share[name] for name in ("sensitivity", "specificity")]
    if None not in rates:
        rare = of_100(_if_rare(*rates, answer.suspicious))
        mix += f"; where only {RARE} of 100 are malignant, {rare} of 100 images called {words} would be malignant"
    missed = f"Of 100 malignant images, {of_100(share[MISSED])} were called benign, and {of_100(share['abstained'])} "
    missed += "got no answer"
    if share[MISSED_MELANOMAS] is not None:
        missed += f"; of 100 melanomas, {of_100(share[MISSED_MELANOMAS])} were called benign"
    texts = [average, f"{mix}.", f"{missed}."]
    if not answer.suspicious and share[key] is not None and answer.malignancy > share[key]:
        texts.append(f"At {percent(answer.malignancy)}, this image is above the average of those called benign.")
    return texts


def _worth_of_none(answer: Answer, deployment: Deployment, share: dict[str, float | None]) -> list[str]:
    """What no answer means, and what to do."""
    remedy = "No answer does not mean benign: examine the lesion itself."
    if answer.reason == UNLIKE:
        remedy += " Take a new image with a dermatoscope."
    none = 1 - deployment.abstention["coverage"]["value"]
    if answer.cause or not none or None in (share["abstained"], share[PREVALENCE]):
        return [remedy]
    malignant = min(1.0, share["abstained"] * share[PREVALENCE] / none)
    return [
        f"In the test, {of_100(none)} of 100 images got no answer; of 100 such images, {of_100(malignant)} were "
        f"malignant. {remedy}"
    ]


def _if_rare(sensitivity: float, specificity: float, is_suspicious: bool) -> float:
    """The share of malignant images among those called suspicious, or benign, where RARE of 100 are malignant."""
    caught = sensitivity if is_suspicious else 1 - sensitivity
    malignant, benign = caught * RARE, (1 - specificity if is_suspicious else specificity) * (100 - RARE)
    return malignant / (malignant + benign) if malignant + benign else 0.0


def describe_total(answer: Answer, deployment: Deployment) -> str:
    """The summed probabilities, with the colours of their bars, and the operating point, on two lines."""
    limit = percent(deployment.suspicious_from)
    return f"This image: malignant {percent(answer.malignancy)} (orange bars)\n{limit} or more is called suspicious"


def of_100(share: float | None) -> str:
    """A measured share as a number of 100."""
    if share is None:
        return "an unknown number"
    return "fewer than 1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; only 0 itself is 0 %, and only 1 itself 100 %."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def describe_malignant_classes(deployment: Deployment) -> str:
    """Which classes count as malignant."""
    names = [one.name + (EARLY if "keratosis" in one.name else "") for one in deployment.classes if one.malignant]
    return f"Counted as malignant: {', '.join(names)}. The program knows only the diagnoses listed."


def describe_model(deployment: Deployment) -> str:
    """Which model it was, and where its figures stand with their intervals."""
    card = results_folder(deployment.study).name + "/MODEL_CARD.md"
    missing = deployment.missing_images
    lacking = f" {missing:,} images of the publisher's list were missing from its study." if missing else ""
    return (
        f"Model {deployment.name} of the study {deployment.study}, version {deployment.version}, deployment "
        f"{deployment.checksum[:16]}. Figures with their intervals: results/{card}.{lacking}"
    )
