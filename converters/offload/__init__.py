"""What a server loads: the float rest of a task behind a cut point, as standard ONNX that reads the codec."""
