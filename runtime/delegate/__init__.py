"""Runs binary networks on a stock interpreter: the delegate in ``c``, and how Python finds it."""
