"""Variables of streaming networks."""
