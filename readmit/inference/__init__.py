"""From a request to a probability without pandas or scikit-learn: encoding, ONNX and tree tables."""
