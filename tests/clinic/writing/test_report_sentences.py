"""Answers in words, and what they are worth in numbers of 100."""

import pytest
from clinical import FIGURE, an_answer, deployment

from clinic.answering.answers import UNLIKE, UNSURE
from clinic.answering.deployment import IF_NOT, IF_SUSPICIOUS, MALIGNANT, PREVALENCE
from clinic.writing.sentences import describe_answer, describe_malignant_classes, describe_model, describe_worth
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019

SHARES = {IF_SUSPICIOUS: 0.463, IF_NOT: 0.034, "missed": 0.08, "abstained": 0.05, PREVALENCE: 0.195}
SHARES |= {"sensitivity": 0.9, "specificity": 0.7}
DEPLOYED = deployment(
    malignant=dict.fromkeys(MALIGNANT, FIGURE) | {name: FIGURE | {"value": share} for name, share in SHARES.items()}
)
OF_MALIGNANT = "Of 100 malignant images, 8 were called benign, and 5 got no answer."
NO_ANSWER = "In the test, 20 of 100 images got no answer, and 5 of 100 malignant ones. "


@pytest.mark.parametrize(
    ("answer", "line", "worth"),
    [
        ({}, "Suspicious", "Of 100 images called suspicious in the test, 46 were malignant:"),
        ({"suspicious": False}, "Looks benign", "Of 100 images called benign in the test, 3 were malignant:"),
        ({"reason": UNLIKE}, "No answer: this does not look like the dermatoscopic images that", NO_ANSWER),
        ({"reason": UNSURE}, "No answer: the program is not sure enough about this image", NO_ANSWER),
    ],
)
def test_an_answer_in_one_line_and_what_it_is_worth(answer, line, worth):
    answer = an_answer(**answer)
    sentences = describe_worth(answer, DEPLOYED)
    assert describe_answer(answer).startswith(line) and sentences[0].startswith(worth)
    assert (OF_MALIGNANT in sentences) == (not answer.abstained)
    assert ("where 20 of 100 images were malignant" in sentences[-1]) == (not answer.abstained)
    # 0.9 x 2 of 100 are found, beside 0.3 x 98 false alarms
    assert ("where 2 of 100 are, about 6 of 100 suspicious" in sentences[-1]) == (line == "Suspicious")


def test_a_share_that_is_not_known_is_no_number():
    unknown = dict.fromkeys(("value", "low", "high"))
    text = " ".join(describe_worth(an_answer(), deployment(malignant=dict.fromkeys(MALIGNANT, unknown))))
    assert "an unknown number were malignant" in text and "None" not in text


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (HAM10000, "; actinic keratosis and Bowen's disease are pre-malignant or in situ."),
        (ISIC2019, ", squamous cell carcinoma; actinic keratosis is pre-malignant."),
        (BENIGN_OR_MALIGNANT, "Counted as malignant: malignant."),
    ],
)
def test_malignant_classes_are_those_of_the_model(classes, words):
    assert describe_malignant_classes(deployment(classes=classes)).endswith(words)


def test_the_model_is_named_with_its_deployment_and_where_its_figures_stand():
    text = describe_model(deployment(missing_images=12723))
    assert text.startswith("Model MobileNet of the study demo, version 0123456789ab, deployment ")
    assert "results/demo/MODEL_CARD.md. 12,723 images of the publisher's list were missing" in text
