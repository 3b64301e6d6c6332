"""Benchmarks of tasks with rates: verdicts of admission, and schedulers beside each other."""
