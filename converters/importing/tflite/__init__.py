"""A .tflite file as an ONNX model: one small file for each family of operators, and one table of all of them."""
