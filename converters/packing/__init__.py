"""From a converted graph to a bundle: quantised, cut into segments, verified, packed."""
