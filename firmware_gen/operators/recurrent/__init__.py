"""Operators with a state of their own."""
