"""Layers of ordinary networks with values and weights of 1 bit: which, computed from frames how, at what cost and gain."""
