"""Larq Compute Engine's operators: 32 channels in a word, a bit being 1 where a value is below zero."""
