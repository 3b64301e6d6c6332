"""ONNX to ONNX, before the converter: operators with constant places, sizes or equations said in plainer ones."""
