"""From files of any exporter to a clean, verified network."""
