"""Mergeable sums over unlabeled frames, their file, and the similarity computed from them."""
