"""What a build came to, for people: summary.json, a terminal table, a Pareto plot and one HTML page."""
