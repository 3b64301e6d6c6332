"""Layers of ordinary networks with values and weights of 1 bit: which, how they are solved, what they cost and give."""
