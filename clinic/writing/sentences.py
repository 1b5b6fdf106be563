"""What an answer says, in words."""

from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment
from clinic.writing.codes import ABSTAINS, risk_code


def verdict(own: Answer, deployment: Deployment) -> str:
    """What the model says of an image, in words."""
    if own.silent:
        return f"{ABSTAINS.meaning} (energy {own.energy:.2f}, below {deployment.silence:.2f}). Show it to a person."
    answered, likeliest = int(own.probabilities.argmax()), int(own.calibrated.argmax())
    name = deployment.classes[answered].name
    # A network that was trained to answer rare diagnoses as readily as common ones may not answer the most probable.
    other = f"{deployment.classes[likeliest].name} {percent(own.calibrated[likeliest])}, "
    told = f"{name} {percent(own.calibrated[answered])}, {other if likeliest != answered else ''}"
    return (
        f"Answer: {name}. Calibrated probabilities: {told}malignant {percent(own.calibrated_malignancy)}. "
        f"{risk_code(own.suspicious).meaning} "
        f"(uncalibrated score {own.malignancy:.3f}, operating point {deployment.threshold:.3f})."
    )


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; 0 and 100 % stand for nothing and all alone, not for what is near them."""
    told = f"{share:.0%}"
    if told == "0%" and share > 0:
        return "<1%"
    return ">99%" if told == "100%" and share < 1 else told
