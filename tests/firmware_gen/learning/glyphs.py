"""Drawn characters, and a network made in code that tells the ten digits apart: something for a board to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multigraft.firmware_gen.program.program import load
from multigraft.tensors.arrays import Array
from tests.firmware_gen.host import evaluate
from tests.firmware_gen.models import Builder, activation, ints

SIDE = 12
FEATURES = 36
_ROWS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00010 00100 01000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    "X": "10001 10001 01010 00100 01010 10001 10001",
}
DIGITS = "0123456789"


def drawn(text: str, seed: int) -> Array:
    """int8, len(text) x 1 x 12 x 12 x 1: characters somewhere in the middle, of uneven ink, on noise."""
    random = np.random.default_rng(seed)
    frames = random.normal(-118, 6, (len(text), SIDE, SIDE))
    for frame, character in zip(frames, text, strict=True):
        ink = np.array([[int(cell) for cell in row] for row in _ROWS[character].split()])
        top, left = 2 + random.integers(0, 2), 3 + random.integers(0, 2)
        frame[top : top + 7, left : left + 5] += ink * random.uniform(150, 230, ink.shape)
    return np.clip(frames, -128, 127).astype(np.int8)[:, None, :, :, None]


def some_digits(count: int, seed: int) -> tuple[Array, Array]:
    """Frames of digits in turn, and which."""
    text = "".join(DIGITS[k % 10] for k in range(count))
    return drawn(text, seed), np.arange(count) % 10


def network(softmax: bool = False) -> bytes:
    """Two convolutions of fixed random weights, and a dense layer that least squares fits to digits."""
    b = Builder(5)
    b.add(activation("image", (1, SIDE, SIDE, 1), 1 / 128, -128))
    x = b.conv("first", "image", 16, (5, 5), stride=2, scale=0.02)
    x = b.conv("second", x, FEATURES // 9, (5, 5), stride=2, scale=0.02)
    b.add(ints("shape", [1, FEATURES]))
    x = b.plain("RESHAPE", "features", [x, "shape"], activation("", (1, FEATURES), 0.02))
    frames, labels = some_digits(300, 1)
    features = evaluate(load(b.model(["image"], [x])), [frames])["features"].reshape(300, -1).astype(float) + 128
    rows = np.concatenate([features, np.ones((300, 1))], axis=1)
    ridge = 1e-4 * np.trace(rows.T @ rows) / len(rows.T) * np.eye(len(rows.T))
    fitted = np.linalg.solve(rows.T @ rows + ridge, rows.T @ (8.0 * (np.arange(10) == labels[:, None]) - 2))
    out = b.dense("digit", x, 10, scale=0.06, zero_point=-60, per_channel=True)
    steps = (np.abs(fitted[:-1]).max(axis=0) / 127).astype(np.float32)
    weights, bias = b.tensors["digit/w"], b.tensors["digit/b"]
    quant = replace(b.quantisation("digit/w"), scales=tuple((steps / np.float32(0.02)).tolist()))
    b.add(replace(weights, data=np.rint(fitted[:-1] / steps).T.astype(np.int8), quant=quant))
    b.add(replace(bias, data=np.rint(fitted[-1] / steps).astype(np.int32), quant=None))
    if softmax:
        out = b.plain("SOFTMAX", "answer", [out], activation("", (1, 10), 1 / 256), beta=1.0)
    return b.model(["image"], [out])
