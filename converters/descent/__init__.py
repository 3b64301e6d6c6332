"""What networks of one parent have in common, branch by branch, and the parts that this makes of a trunk."""
