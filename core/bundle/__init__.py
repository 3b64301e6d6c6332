"""The bundle (``NAME.graft``): archive, manifest, names of its tapped outputs."""
