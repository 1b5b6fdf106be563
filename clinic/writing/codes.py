"""Codes for diagnoses, probabilities and answers in DICOM and FHIR.

A diagnosis has the SNOMED CT code of the same meaning if there is one, otherwise a code of this study. The SNOMED CT
codes come from the tables of DICOM PS3.16 (contexts 638 and 4405) or from published value sets. In HAM10000, akiec, bkl
and vasc each combine several diagnoses, which no single code covers, and no code for df could be verified. Malignant
also has a code of the study, since it includes actinic keratosis and Bowen's disease, which are pre-malignant or in
situ.
"""

import uuid
from functools import cache

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from clinic.answering.answers import UNLIKE, UNSURE
from clinic.reading.place import DERMOSCOPIC, Place
from helpers.data.diagnoses import Diagnosis

# The study's own coding scheme: DICOM uses its short name, FHIR its identifier.
SCHEME = "99SKINLESION"
SCHEME_UID = f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, 'codes.skin-lesion-study').int}"
SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    "LN": "http://loinc.org",
    SCHEME: f"urn:oid:{SCHEME_UID}",
}
SNOMED = {
    "mel": ("93655004", "Malignant melanoma of skin"),
    "nv": ("400010006", "Melanocytic nevus of skin"),
    "bcc": ("254701007", "Basal cell carcinoma of skin"),
    "scc": ("254651007", "Squamous cell carcinoma of skin"),
    "ak": ("201101007", "Actinic keratosis"),
}
LONGEST_MEANING = 64  # letters of a meaning in DICOM
SKIN_LESION = Code("95324001", "SCT", "Skin lesion")
DERMOSCOPY = Code("446078004", "SCT", "Dermoscopic photography")
IMAGING = Code("363679005", "SCT", "Imaging")
SIDES = {  # DICOM PS3.16, context 244
    "L": Code("7771000", "SCT", "Left"),
    "R": Code("24028007", "SCT", "Right"),
    "B": Code("51440002", "SCT", "Right and left"),
}
IMAGING_STUDY = Code("18748-4", "LN", "Diagnostic imaging study")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
PERCENT = Code("%", "UCUM", "percent")
MALIGNANT = Code("malignant", SCHEME, "Malignant, in situ or pre-malignant skin lesion")
MALIGNANCY = Code("malignancy", SCHEME, "Calibrated probability of the malignant classes")
OPERATING_POINT = Code("operating-point", SCHEME, "Probability of the malignant classes at the operating point")
REACHED = Code("reached", SCHEME, "At or above the operating point: suspicious")
NOT_REACHED = Code("not-reached", SCHEME, "Below the operating point")
CANDIDATE = Code("candidate", SCHEME, "Candidate diagnosis, not a finding")
ANSWERED = Code("answered", SCHEME, "Whether the model answers")
ANSWERS = Code("answers", SCHEME, "The model answers")
ABSTAINS = {
    UNLIKE: Code("unlike", SCHEME, "No answer: unlike the images that the model learnt from"),
    UNSURE: Code("unsure", SCHEME, "No answer: the model is not sure enough"),
}


def procedure_code(place: Place | None) -> Code:
    """The code for how an image was taken; an image that is not from DICOM is assumed to be dermoscopic."""
    return DERMOSCOPY if place is None or place.sop_class == DERMOSCOPIC else IMAGING


def region_code(place: Place) -> Code | None:
    """The region of the body in the words of DICOM's own tables; None if it has none, or one that is not in them."""
    code = _known_regions().get(place.region)
    return code if code and len(code.meaning) <= LONGEST_MEANING else None


@cache
def _known_regions() -> dict[str, Code]:
    return {code.value: code for code in standard.SCT.concepts.values()}


def diagnosis_code(diagnosis: Diagnosis) -> Code:
    """The code of a class."""
    code = diagnosis.code.lower()
    if code in SNOMED:
        value, meaning = SNOMED[code]
        return Code(value, "SCT", meaning)
    return Code(code, SCHEME, diagnosis.name)


def probability_code(diagnosis: Diagnosis) -> Code:
    """The code of the calibrated probability of a class."""
    # Short: DICOM moves a code of more than 16 characters to an attribute that some readers do not know.
    return Code(f"prob-{diagnosis.code.lower()}", SCHEME, f"Calibrated probability of {diagnosis.name}")


def risk_code(suspicious: bool) -> Code:
    """The code that says whether the score reaches the operating point."""
    return REACHED if suspicious else NOT_REACHED


def coding(code: Code) -> dict:
    """A code as a FHIR Coding."""
    return {"system": SYSTEMS[code.scheme_designator], "code": code.value, "display": code.meaning}
