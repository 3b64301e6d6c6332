"""The closed-form refit on the device, from sums alone."""
