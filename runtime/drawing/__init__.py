"""Answers drawn into pictures, with Pillow alone."""
