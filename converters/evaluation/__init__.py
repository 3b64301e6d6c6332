"""Accuracy on labelled pictures: what a bundle answers, beside what its original networks answer."""
