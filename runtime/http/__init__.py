"""HTTP in a process of its own: whatever clients do, the inference loop keeps its rate."""
