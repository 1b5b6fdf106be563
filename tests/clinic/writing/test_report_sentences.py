"""Answers in words, and what they are worth in numbers of 100."""

import pytest
from clinical import FIGURE, an_answer, deployment

from clinic.answering.answers import UNLIKE, UNSURE
from clinic.answering.deployment import IF_NOT, IF_SUSPICIOUS, MALIGNANT, MISSED_MELANOMAS, PREVALENCE
from clinic.writing.sentences import describe_answer, describe_malignant_classes, describe_model, describe_worth
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019

SHARES = {
    IF_SUSPICIOUS: 0.463,
    IF_NOT: 0.034,
    "missed": 0.08,
    MISSED_MELANOMAS: 0.12,
    "abstained": 0.05,
    PREVALENCE: 0.195,
}
SHARES |= {"sensitivity": 0.9, "specificity": 0.7}
DEPLOYED = deployment(
    malignant=dict.fromkeys(MALIGNANT, FIGURE) | {name: FIGURE | {"value": share} for name, share in SHARES.items()}
)
OF_MALIGNANT = (
    "Of 100 malignant images, 8 were called benign, and 5 got no answer; of 100 melanomas, 12 were called benign."
)
NO_ANSWER = "In the test, 20 of 100 images got no answer; of 100 such images, 5 were malignant. "


@pytest.mark.parametrize(
    ("answer", "line", "worth", "where_rare"),
    [
        (
            {},
            "Suspicious: have",
            "46 of 100 images called suspicious",
            "6 of 100 images called suspicious would be malignant.",
        ),
        (
            {"suspicious": False},
            "Looks benign, but",
            "3 of 100 images called benign",
            "fewer than 1 of 100 images called",
        ),
    ],
)
def test_an_answer_in_one_line_and_what_it_is_worth(answer, line, worth, where_rare):
    """0.9 of 2 in 100 are found, beside 0.3 of 98 false alarms; 0.1 of 2 are missed, beside 0.7 of 98."""
    answer = an_answer(**answer)
    average, mix, missed, *more = describe_worth(answer, DEPLOYED)
    assert describe_answer(answer).startswith(line) and average.startswith(f"On average, {worth} in the test were")
    assert mix.startswith(
        "In the test, 20 of 100 images were malignant; where only 2 of 100 are malignant, " + where_rare
    )
    assert missed == OF_MALIGNANT
    assert more == ([] if answer.suspicious else ["At 60 %, this image is above the average of those called benign."])


def test_an_image_below_the_average_of_benign_ones_needs_no_word():
    assert len(describe_worth(an_answer(suspicious=False, malignancy=0.03), DEPLOYED)) == 3


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (UNLIKE, "No answer: this does not look like the dermatoscopic images that"),
        (UNSURE, "No answer: the program is not sure enough about this image"),
    ],
)
def test_no_answer_says_why_and_what_to_do(reason, line):
    """0.05 of 19.5 malignant images in 100 had none, among 20 without one."""
    (worth,) = describe_worth(an_answer(reason), DEPLOYED)
    assert describe_answer(an_answer(reason)).startswith(line) and worth.startswith(NO_ANSWER)
    assert ("Take a new image" in worth) == (reason == UNLIKE)


def test_no_answer_names_a_plain_cause():
    answer = an_answer(UNLIKE, cause="is black")
    assert describe_answer(answer) == "No answer: the image is black"
    assert describe_worth(answer, DEPLOYED)[0].startswith("No answer does not mean benign: examine the lesion")


def test_a_share_that_is_not_known_is_no_number():
    unknown = dict.fromkeys(("value", "low", "high"))
    text = " ".join(describe_worth(an_answer(), deployment(malignant=dict.fromkeys(MALIGNANT, unknown))))
    assert "On average, an unknown number of 100 images" in text and "None" not in text and "melanoma" not in text


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (
            HAM10000,
            ": actinic keratosis or Bowen's disease (pre-malignant or in situ), basal cell carcinoma, melanoma.",
        ),
        (
            ISIC2019,
            "actinic keratosis (pre-malignant or in situ), basal cell carcinoma, melanoma, squamous cell carcinoma.",
        ),
        (BENIGN_OR_MALIGNANT, "Counted as malignant: malignant. "),
    ],
)
def test_malignant_classes_are_those_of_the_model(classes, words):
    assert words in describe_malignant_classes(deployment(classes=classes))


def test_the_model_is_named_with_its_deployment_and_where_its_figures_stand():
    text = describe_model(deployment(missing_images=12723))
    assert text.startswith("Model MobileNet of the study demo, version 0123456789ab, deployment ")
    assert "results/demo/MODEL_CARD.md. 12,723 images of the publisher's list were missing" in text
