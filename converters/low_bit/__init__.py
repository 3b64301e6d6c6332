"""Weights of 4 and 2 bits on a stock interpreter: which layers, rounded how, and what each costs and gives."""
