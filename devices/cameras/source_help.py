"""What a user may type after ``--source``; apart, so that showing it loads no camera and no numpy."""

from __future__ import annotations

HELP = (
    "a folder of images, an image, a video file, a .npy or .npz file (FILE.npz:ARRAY where it holds several), "
    "/dev/videoN, camera (Raspberry Pi), serial:PORT[@BAUD] (a board whose firmware has a camera), "
    "or fake:[WIDTHxHEIGHT][,grey][,seed=N][,frames=N]; for tasks that take arrays, rows in .npy or .npz files"
)

ROWS_HELP = "a .npy file, an array of a .npz file (FILE.npz:ARRAY), or a folder of .npy files, one row a frame"
"""The same for tasks that take rows of numbers."""
