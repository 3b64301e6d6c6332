"""What every form of file becomes: one float32 graph that stands alone, its nodes in order."""
