"""From frames and real values to stored tensors: specs, preprocessing, resizing, quantisation."""
