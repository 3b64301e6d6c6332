"""Early exits of a classification: when an answer is sure, with which promise, and whether that still holds."""
