"""Answers as records of formats that other programs read."""
