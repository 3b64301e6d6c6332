"""Program to program: padding folded, constant channels pruned, layers fused."""
