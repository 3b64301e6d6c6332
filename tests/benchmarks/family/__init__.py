"""Families of networks that are made here, from the demo's: what they share, and what predicts it."""
