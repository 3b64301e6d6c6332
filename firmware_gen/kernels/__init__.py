"""Operators lowered to C for a core."""
