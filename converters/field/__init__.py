"""What comes from the field and goes there: taps and refit bundles out, statistics and refits in."""
