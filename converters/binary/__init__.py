"""Networks trained with binary weights and activations: found in ONNX, carried through, written as binary operators."""
