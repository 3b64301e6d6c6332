"""Bundles on the machine that runs them: kept by digest, tried, switched, rolled back, signed, sent over ssh."""
