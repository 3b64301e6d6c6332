"""Operators that sum or choose over windows."""
