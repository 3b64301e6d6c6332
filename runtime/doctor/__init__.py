"""What this machine has, what is missing, and what to type."""
