"""Cameras and other sources of frames: the port, adapters, fakes, and what ``--source`` names."""
