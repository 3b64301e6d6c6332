"""Random small graphs through import, conversion and interpreter, compared with onnxruntime on the original."""
