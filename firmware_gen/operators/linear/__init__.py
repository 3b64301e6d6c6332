"""Operators that multiply by weights."""
