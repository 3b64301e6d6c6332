"""What decoders share: cells and levels, forms of boxes, scores, hints of files, checks."""
