"""Operators that compute value by value."""
