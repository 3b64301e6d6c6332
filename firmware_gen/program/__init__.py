"""A model as one list of steps."""
