"""The deployed network as ONNX and LiteRT, for programs without Keras, and how closely these files agree with it."""

FOLDER, PARITY = "export", "parity.csv"
# The same words as in `clinic`, which helpers may not import.
DISCLAIMER = (
    "For education and research. Not a medical device: this is not a diagnosis. Do not treat anybody, or leave anybody "
    "untreated, because of it."
)
