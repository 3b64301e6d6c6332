"""kill -9 at any moment of a long command: what the same command makes afterwards, and what it leaves."""
