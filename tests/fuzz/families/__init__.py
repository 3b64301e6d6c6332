"""What the random graphs are made of: a function per kind of operator, which draws one with legal attributes."""
