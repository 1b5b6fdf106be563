"""An application that predicts new images with a model of the study. `python -m clinic` is its command. Its parts:

reading     files found, checked and decoded, as pictures for a network
answering   the deployment of a model, its network, its answers
writing     answers as tables, pages, DICOM and FHIR
example     DICOM objects of a patient who does not exist
node        an application of DICOM that accepts images and sends reports
watch       a folder whose new files are answered
command     the command line
app         a page in the browser

For education and research, not a medical device. Only this package needs pydicom, highdicom and fhir.resources.
"""

from helpers.study import DISCLAIMER  # noqa: F401, every part of the clinic states it

MAKER = "Skin lesion study"  # the manufacturer in results; by it, results are recognised when they come back as input
