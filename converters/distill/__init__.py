"""Label-free distillation of a graft after its closed form (PyTorch)."""
