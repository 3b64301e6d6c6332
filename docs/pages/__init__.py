"""Pages and pictures that are made from the code: ``python -m docs.pages`` writes them beside the others."""
