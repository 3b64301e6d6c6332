"""Grafting: one network's first layers serve another, whose remaining layers are re-solved in closed form."""
