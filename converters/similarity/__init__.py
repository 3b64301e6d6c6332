"""Similarity of all cut points of all networks on unlabeled frames."""
