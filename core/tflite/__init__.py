""".tflite files as plain values: reader, writer, operators, multiply-accumulates."""
