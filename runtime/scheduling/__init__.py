"""Tasks at rates of their own: which are due, which comes next, whether all of it fits, and what gives way."""
