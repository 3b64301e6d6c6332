"""One file per family of networks: what its outputs are, how it is recognised, and how it is decoded."""
