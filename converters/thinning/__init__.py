"""Fewer hidden channels: chosen and re-solved in closed form, without labels, from sums over unlabeled frames."""
