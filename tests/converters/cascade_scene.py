"""A person is a red square, a face the green square in its middle, and its blue and red tell mood and age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from tests.converters.onnx_builder import OnnxBuilder

SIDE = 64
PERSON, FACE = 24, 8

Picture = npt.NDArray[np.uint8]
Person = tuple[int, int, int, int]
"""Left and upper edge, mood and age (0 or 1)."""


def picture(*people: Person) -> Picture:
    """Height x width x 3, RGB."""
    made = np.zeros((SIDE, SIDE, 3), np.uint8)
    for left, top, mood, age in people:
        made[top : top + PERSON, left : left + PERSON] = (200, 0, 0)
        inner = (PERSON - FACE) // 2
        face = made[top + inner : top + inner + FACE, left + inner : left + inner + FACE]
        face[:] = (250 * age, 200, 200 * mood)
    return made


def pictures(count: int, seed: int = 0) -> list[Picture]:
    """With one or two people each, side by side, at any place."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        people: list[Person] = []
        for low, high in [(0, 8), (32, 40)][: 1 + number % 2]:
            left, top = int(random.integers(low, high + 1)), int(random.integers(0, SIDE - PERSON + 1))
            people.append((left, top, int(random.integers(2)), int(random.integers(2))))
        made.append(picture(*people))
    return made


def detector(path: Path, size: int, channel: int, side: float) -> None:
    """CenterNet's form: peaks where a square of ``channel`` as large as ``side`` pixels has its centre."""
    b = OnnxBuilder(1)
    x = b.input("x", 3, size, size)
    seen = np.zeros((1, 3, 3, 3), np.float32)
    seen[0, channel] = 1 / 9
    b.constant("seen.w", seen)
    colour = b.add("Conv", "colour", x, "seen.w", channels=1, pads=[1] * 4, strides=[2, 2])
    reach = max(3, round(side / 2) | 1)
    b.constant("window", np.full((1, 1, reach, reach), 1 / reach**2, np.float32))
    amount = b.add("Conv", "amount", colour, "window", channels=1, pads=[reach // 2] * 4)
    b.constant("slope", np.array([[[[40.0]]]], np.float32))
    b.constant("start", np.array([-22.0], np.float32))
    b.add("Sigmoid", "heat", b.add("Conv", "logits", amount, "slope", "start", channels=1))
    b.constant("none", np.array([[[[1e-3]]], [[[1e-3]]]], np.float32))
    b.constant("extent", np.array([side / 2, side / 2], np.float32))
    b.constant("middle", np.array([0.5, 0.5], np.float32))
    b.add("Conv", "wh", amount, "none", "extent", channels=2)
    b.add("Conv", "offset", amount, "none", "middle", channels=2)
    onnx.save(b.model("heat", "wh", "offset"), path)


def judge(path: Path, channel: int) -> None:
    """Whether there is much of ``channel``: two classes; the layers before the last are the same for every judge."""
    b = OnnxBuilder(2)
    x = b.conv_relu("first", b.input("x", 3, 16, 16), 8)
    rest = np.zeros((8, 8, 1, 1), np.float32)
    rest[np.arange(8), np.arange(8)] = 1
    b.constant("rest.w", rest)
    x = b.add("Relu", "rest", b.add("Conv", "rest.conv", x, "rest.w", channels=8))
    pooled = b.add("Flatten", "flat", b.add("GlobalAveragePool", "pool", x), axis=1)
    # By least squares over colours of whole pictures, since the first layers are random.
    weights, bias = _fitted(b, channel)
    b.constant("head.w", weights)
    b.constant("head.b", bias)
    onnx.save(b.model(b.add("Gemm", "classes", pooled, "head.w", "head.b", channels=2, transB=1)), path)


def _fitted(b: OnnxBuilder, channel: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in b.initializers}
    kernel, shift = constants["first.conv.weight"], constants["first.conv.bias"]
    colours = np.array([(250 * a, 200, 200 * m) for a in (0, 1) for m in (0, 1)], np.float32) / 255
    planes = np.broadcast_to(colours[:, :, None, None], (4, 3, 16, 16))
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # type: ignore[call-overload]
    maps = np.einsum("ncyxij,ocij->noyx", windows, kernel) + shift[:, None, None]
    features = np.maximum(maps, 0).mean(axis=(2, 3))
    wanted = np.where(colours[:, channel] > 0.3, 4.0, -4.0)
    solved = np.linalg.lstsq(np.c_[features, np.ones(4)], np.stack([-wanted, wanted], axis=1), rcond=None)[0]
    return solved[:-1].T.astype(np.float32), solved[-1].astype(np.float32)


SETTINGS = """
frames = "frames.npy"
[bundle]
name = "people"
[budget]
min_agreement = 0.8
[[task]]
name = "person"
model = "person.onnx"
kind = "detection"
labels = ["person"]
preprocessing = { size = [64, 64], color = "rgb" }
[[task]]
name = "face"
model = "face.onnx"
kind = "detection"
labels = ["face"]
preprocessing = { size = [32, 32], color = "rgb" }
on = { task = "person" }
[[task]]
name = "mood"
model = "mood.onnx"
kind = "classification"
labels = ["calm", "glad"]
preprocessing = { size = [16, 16], color = "rgb" }
on = { task = "face" }
[[task]]
name = "age"
model = "age.onnx"
kind = "classification"
labels = ["young", "old"]
preprocessing = { size = [16, 16], color = "rgb" }
on = { task = "face" }
"""


def project(folder: Path, precision: str = "int8") -> Path:
    """Networks, frames and settings; returns the settings."""
    detector(folder / "person.onnx", 64, 0, PERSON)
    detector(folder / "face.onnx", 32, 1, FACE * 32 / PERSON)
    judge(folder / "mood.onnx", 2)
    judge(folder / "age.onnx", 0)
    np.save(folder / "frames.npy", np.stack(pictures(200)))
    path = folder / "multigraft.toml"
    path.write_text(f'{SETTINGS}\n[convert]\nprecision = "{precision}"\n', "utf-8")
    return path
