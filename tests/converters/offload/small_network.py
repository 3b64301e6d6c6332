"""A small network of two outputs, and a bundle of it with a cut point in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.network.splitting import split_at
from multigraft.converters.packing.convert import convert
from multigraft.converters.standing import alone
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.onnx_builder import OnnxBuilder

SIZE = (12, 12)
"""As many columns as channels behind the cut: shapes alone do not tell how it lies."""
CUT = "digit/middle"


def network(seed: int = 0) -> Network:
    b = OnnxBuilder(seed)
    x = b.conv_relu("stem", b.input("image", 3, *SIZE), 8)
    y = b.conv_relu("middle", x, 12)
    z = b.conv_relu("late", y, 12, stride=2)
    model = b.model(b.classifier("logits", z, 5), b.conv("map", z, 12, 1))
    return Network("digit", model, Preprocessing(*SIZE, "rgb", (120.0,) * 3, (0.02,) * 3), "other")


def frames() -> list[Array]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(32)]


def made(folder: Path) -> tuple[MultiTaskModel, Bundle]:
    """The float graph, and the bundle; ``folder`` is for what lies between."""
    model = alone(network())
    converted = convert(split_at(model, "middle"), {"digit/image": frames()}, name="home", work_dir=folder)
    return model, converted.bundle
