"""From the outputs of a network to what people use: boxes, poses, masks, text, in pixels of the frame."""
