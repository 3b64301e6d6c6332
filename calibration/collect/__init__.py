"""Collecting Statistics from a camera: selection, taps, sums, store."""
