"""The deployed network as ONNX and LiteRT, for programs without Keras, and how closely these files agree with it."""

FOLDER, PARITY = "export", "parity.csv"
ONNX, LITERT, INT8 = "model.onnx", "model.tflite", "model_int8.tflite"
CHECKSUMS = "SHA256SUMS"  # of these files, as `sha256sum --check` reads it
