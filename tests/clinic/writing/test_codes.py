"""Codes: SNOMED CT where it is used is well-formed, and no two classes or probabilities share a code."""

import pytest

from clinic.writing.codes import SNOMED, SYSTEMS, diagnosis_code, probability_code
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019

TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def has_check_digit(number: str) -> bool:
    """Whether the last digit is the check digit of Verhoeff (1969), as in every SNOMED CT identifier."""
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = TURN[value]
        # The sum in the dihedral group of the pentagon.
        check = (check + (value if check < 5 else -value)) % 5 + 5 * ((check < 5) != (value < 5))
    return check == 0


def test_snomed_codes_have_their_check_digits():
    assert all(has_check_digit(code) for code, _ in SNOMED.values()) and not has_check_digit("93655005")


@pytest.mark.parametrize("classes", [HAM10000, ISIC2019, BENIGN_OR_MALIGNANT])
def test_each_class_and_each_probability_has_a_code_that_dicom_can_hold(classes):
    codes = [make(one) for make in (diagnosis_code, probability_code) for one in classes]
    assert len({code.value for code in codes}) == 2 * len(classes)
    assert all(code.scheme_designator in SYSTEMS for code in codes)
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in codes)
