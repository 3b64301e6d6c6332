"""What a user may type after ``--source``; apart, so that showing it loads no camera and no numpy."""

from __future__ import annotations

HELP = (
    "a folder of images, an image, a video file, a .npy or .npz file (FILE.npz:ARRAY where it holds several), "
    "/dev/videoN, camera (Raspberry Pi), serial:PORT[@BAUD] (a board whose firmware has a camera), "
    "or fake:[WIDTHxHEIGHT][,grey][,seed=N][,frames=N]"
)
