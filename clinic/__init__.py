"""What a clinic gets of the study: predictions of new images, as tables, pages, DICOM and FHIR; see `command`.

For education and research, not a medical device. Only this package needs pydicom, highdicom and fhir.resources.
"""

MAKER = "Skin lesion study"  # as results name it, by which they are known when they come back
DISCLAIMER = (
    "For education and research. Not a medical device: this is no diagnosis, and nobody may be treated, or left "
    "untreated, because of it."
)
