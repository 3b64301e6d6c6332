"""The closed-form refit: linear layers, ridge regression from sums, and the plan a device is given."""
