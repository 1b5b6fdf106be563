"""The classes of the datasets: their codes, their names, and which of them count as malignant."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One class: the publisher's code, the full name, and whether it counts as malignant."""

    code: str
    name: str
    malignant: bool


MELANOMA = "mel"  # its code in both datasets, in small letters
# akiec and AK are pre-malignant or in situ. Like most work on these data, the study counts them as malignant.
HAM10000 = (
    Diagnosis("akiec", "actinic keratosis or Bowen's disease", True),
    Diagnosis("bcc", "basal cell carcinoma", True),
    Diagnosis("bkl", "benign keratosis-like lesion", False),
    Diagnosis("df", "dermatofibroma", False),
    Diagnosis("mel", "melanoma", True),
    Diagnosis("nv", "melanocytic nevus", False),
    Diagnosis("vasc", "vascular lesion", False),
)
ISIC2019 = (
    Diagnosis("AK", "actinic keratosis", True),
    Diagnosis("BCC", "basal cell carcinoma", True),
    Diagnosis("BKL", "benign keratosis-like lesion", False),
    Diagnosis("DF", "dermatofibroma", False),
    Diagnosis("MEL", "melanoma", True),
    Diagnosis("NV", "melanocytic nevus", False),
    Diagnosis("SCC", "squamous cell carcinoma", True),
    Diagnosis("VASC", "vascular lesion", False),
)
