"""What a user may type after ``--source``; apart, so that showing it loads no camera and no numpy."""

from __future__ import annotations

HELP = (
    "a folder of images, an image, a video file, a .npy or .npz file (FILE.npz:ARRAY where it holds several), "
    "/dev/videoN, camera (Raspberry Pi), an address (rtsp://, http://), serial:PORT[@BAUD] (a board whose firmware has "
    "a camera), @FILE (which holds one of these), or fake:[WIDTHxHEIGHT][,grey][,seed=N][,frames=N]; for tasks that "
    "take arrays, rows in .npy or .npz files; for tasks that take sound, a WAV file, a folder of them, or "
    "microphone[:DEVICE]"
)

ROWS_HELP = "a .npy file, an array of a .npz file (FILE.npz:ARRAY), or a folder of .npy files, one row a frame"
"""The same for tasks that take rows of numbers."""

SOUND_HELP = (
    "a WAV file, a folder of WAV files, a .npy file with windows of int16 samples, microphone[:DEVICE] or fake:"
)
"""The same for tasks that take sound."""
