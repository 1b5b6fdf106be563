"""Where results about a DICOM object are filed: what is taken over from its header, and no more."""

import hashlib
from dataclasses import dataclass

DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"


@dataclass(frozen=True)
class Place:
    """Where the results for an object are filed: only the identifiers of its patient, its study and itself.

    Texts are as in DICOM, empty where the object has none. patient_issuer: who issued patient_id; physician: who
    referred the patient; acquired: the day of the image as YYYYMMDD, or else that of its content or its study;
    burned_in, recognisable: whether the object says that text is burned into its pixels, and that a person can be
    recognised in them, YES, NO or empty; region: the SNOMED CT code of where on the body it was taken; laterality: L, R
    or B for both sides; anonymous: whether the identifiers are made up; spacing: millimetres per pixel, 0 if unknown.
    """

    sop_class: str
    sop_instance: str
    series: str
    study: str
    patient_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession_number: str = ""
    patient_issuer: str = ""
    physician: str = ""
    acquired: str = ""
    modality: str = ""
    burned_in: str = ""
    recognisable: str = ""
    region: str = ""
    laterality: str = ""
    frames: int = 1
    spacing: float = 0.0
    anonymous: bool = False

    def without_identifiers(self, key: bytes) -> "Place":
        """The same place under new identifiers made with `key`: consistent within a study, and not reversible.

        key: up to 64 random bytes, discarded after the run.
        """
        renamed = {name: _new_uid(getattr(self, name), key) for name in ("sop_instance", "series", "study")}
        kept = {name: getattr(self, name) for name in KEPT}
        return Place(**kept, **renamed, anonymous=True)


# Fields that identify nobody.
KEPT = ("sop_class", "modality", "burned_in", "recognisable", "region", "laterality", "frames", "spacing")
NAMED = {  # attributes of DICOM behind the identifiers of a place
    "sop_class": "SOPClassUID",
    "sop_instance": "SOPInstanceUID",
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "patient_issuer": "IssuerOfPatientID",
    "physician": "ReferringPhysicianName",
}


def _new_uid(uid: str, key: bytes) -> str:
    """A new UID derived from `uid` and `key`, always the same for both, in the form of PS3.5 B.2."""
    digest = hashlib.blake2b(uid.encode(), key=key, digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest)}"
