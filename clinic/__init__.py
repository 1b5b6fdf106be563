"""An application of the study: new images in, predictions out. `python -m clinic` is its command. Its rooms, downwards:

reading     files found, checked and decoded, as pictures for a network
answering   the deployment of a model, its network, its answers
writing     answers as tables, pages, DICOM and FHIR
example     DICOM objects of a patient who does not exist
command     the command line
app         a page in the browser

For education and research, not a medical device. Only this package needs pydicom, highdicom and fhir.resources.
"""

MAKER = "Skin lesion study"  # as results name it, by which they are known when they come back
DISCLAIMER = (
    "For education and research. Not a medical device: this is no diagnosis, and nobody may be treated, or left "
    "untreated, because of it."
)
