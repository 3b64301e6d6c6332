"""ONNX to ONNX, before the converter: what onnx2tf refuses or gets wrong is said in operators that it gets right."""
