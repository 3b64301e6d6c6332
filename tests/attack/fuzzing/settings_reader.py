"""``multigraft.toml``, beside files of the names that it may give."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from multigraft.converters.settings.settings import Settings

HEAD = 'frames = "f.npy"\n[[task]]\nname = "a"\nmodel = "a.onnx"\nkind = "classification"\n'
ALL = """\
frames = "f.npz:x"
[bundle]
name = "home"
[[task]]
name = "garment"
model = "a.onnx"
kind = "classification"
labels = ["x", "é"]
labelled = "f.npz"
frames = "f.npy"
[task.preprocessing]
size = [28, 32]
color = "grey"
mean = 72.9
scale = [0.01]
resize = "fit"
interpolation = "nearest"
[[task]]
name = "pose"
model = "nets.pose:make"
state = "a.pt2"
kind = "landmarks"
tolerance = 0.5
[task.preprocessing]
shape = [3, 128]
mean = [1, 2, 3]
axis = 0
values = "float32"
[budget]
min_agreement = 0.97
confidence = 0.99
max_weights_bytes = 200_000
max_macs = 1_000_000
max_latency_us = 900
prefer = "macs"
[graft]
refine = "distill"
seed = 7
fit_frames = 256
share = { pose = "relu3" }
[convert]
precision = "int8"
keep_float = ["logits"]
min_layer_sqnr_db = 15
rescue = "none"
"""
SOUND = HEAD + (
    "[task.preprocessing]\nshape = [1, 49, 40]\nhop_ms = 5e2\n"
    "sound = { rate_hz = 8000, window_ms = 30, step_ms = 20, fft = 512, bands = 40, low_hz = 0, high_hz = 4000 }\n"
)


def seeds() -> dict[str, bytes]:
    """One with every table, one for sounds, one for rows, one with a file of labels."""
    rows = HEAD + '[task.preprocessing]\nshape = [16]\nvalues = "int32"\n'
    labels = HEAD + 'labels = "l.txt"\n[task.preprocessing]\nsize = [8, 8]\nscale = 1e-3\n'
    return {name: text.encode() for name, text in
            {"all": ALL, "sound": SOUND, "rows": rows, "labels": labels}.items()}  # fmt: skip


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    for name in ("f.npy", "f.npz", "a.onnx", "a.pt2"):
        (Path(folder.name) / name).write_bytes(b"x")
    (Path(folder.name) / "l.txt").write_text("one\ntwo\n", "utf-8")
    return folder


def run(data: bytes) -> None:
    """Read it as a build does."""
    path = Path(_folder().name) / "multigraft.toml"
    path.write_bytes(data)
    Settings.load(path)
