"""TFLite's integer arithmetic in numpy, bit for bit."""
