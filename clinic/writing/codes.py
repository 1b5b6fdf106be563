"""What a diagnosis is called in DICOM and FHIR: by SNOMED CT where it has a concept for just that, else by own codes.

The concepts were looked up in the tables of DICOM PS3.16 (contexts 638 and 4405) or in published value sets. HAM10000's
akiec, bkl and vasc each put several diagnoses together, for which no one concept stands; nor is a code given for df,
since none could be verified. What counts as malignant has an own code too: it includes actinic keratosis and Bowen's
disease, which are pre-malignant or in situ.
"""

import uuid
from typing import NamedTuple

from helpers.data.lesions import Diagnosis

# Own codes have a scheme of their own: the study's, in DICOM by its short name, elsewhere by an identifier.
SCHEME = "99SKINLESION"
OWN_OID = f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, 'codes.skin-lesion-study').int}"
OWN_SYSTEM = f"urn:oid:{OWN_OID}"
SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    SCHEME: OWN_SYSTEM,
}


class Concept(NamedTuple):
    """A coded concept: its value, the scheme it is from, as DICOM writes it, and its meaning."""

    value: str
    scheme: str
    meaning: str

    def coding(self) -> dict:
        """As FHIR writes it."""
        return {"system": SYSTEMS[self.scheme], "code": self.value, "display": self.meaning}


SNOMED = {
    "MEL": ("93655004", "Malignant melanoma of skin"),
    "NV": ("400010006", "Melanocytic nevus of skin"),
    "BCC": ("254701007", "Basal cell carcinoma of skin"),
    "SCC": ("254651007", "Squamous cell carcinoma of skin"),
    "AK": ("201101007", "Actinic keratosis"),
}
SKIN_LESION = Concept("95324001", "SCT", "Skin lesion")
MALIGNANT = Concept("malignant", SCHEME, "Malignant, in situ or pre-malignant skin lesion")
DERMOSCOPY = Concept("446078004", "SCT", "Dermoscopic photography")
IMAGING = Concept("363679005", "SCT", "Imaging")
CERTAINTY = Concept("111012", "DCM", "Certainty of Finding")
MALIGNANCY = Concept("malignancy", SCHEME, "Calibrated probability of the malignant classes")
PERCENT = Concept("%", "UCUM", "percent")
OPERATING_POINT = Concept("operating-point", SCHEME, "Malignancy score at the operating point")
REACHED = Concept("reached", SCHEME, "At or above the operating point: suspicious")
NOT_REACHED = Concept("not-reached", SCHEME, "Below the operating point")
CANDIDATE = Concept("candidate", SCHEME, "Candidate diagnosis, not a finding")
ANSWERED = Concept("answered", SCHEME, "Whether the model answers")
SILENT = Concept("silent", SCHEME, "No answer: the energy of the logits is below its limit")
ANSWERS = Concept("answers", SCHEME, "The model answers")


def concept(diagnosis: Diagnosis) -> Concept:
    """The concept of a class."""
    if known := SNOMED.get(diagnosis.code.upper()):
        return Concept(known[0], "SCT", known[1])
    return Concept(diagnosis.code.lower(), SCHEME, diagnosis.name)


def probability_of(diagnosis: Diagnosis) -> Concept:
    """The concept of what is measured of a class."""
    # Short, since DICOM puts a code of more than 16 letters into another attribute, which some readers do not know.
    return Concept(f"prob-{diagnosis.code.lower()}", SCHEME, f"Calibrated probability of {diagnosis.name}")


def level(suspicious: bool) -> Concept:
    """Whether the operating point is reached."""
    return REACHED if suspicious else NOT_REACHED
