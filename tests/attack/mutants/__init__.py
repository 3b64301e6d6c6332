"""Makers of mutants, one for each kind of file."""
