"""What a project costs and whether it is right: reports, instruction counts, reference answers."""
