"""From ONNX to a float32 .tflite: onnx2tf as a subprocess, clean-ups after it, names given back."""
