"""Arithmetic of maps and outlines that answers need, on plain arrays."""
