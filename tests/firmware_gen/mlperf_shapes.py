"""Networks of the shapes of MLPerf Tiny's visual wake words and anomaly detection, with made weights.

Layers and sizes are those of the benchmark's reference networks (mlcommons/tiny: MobileNet v1 with a quarter of the
channels on 96 x 96 x 3 pixels; an autoencoder of ten dense layers on 640 features), so instructions, flash and RAM are
those of the trained networks before pruning. What exact pruning takes away depends on weights: these do not show it.
"""

from __future__ import annotations

from multigraft.tflite.graph import OptionValue
from tests.firmware_gen.models import Builder, activation, ints

_MOBILENET = (
    (1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128), (1, 128), (1, 128), (1, 128), (1, 128), (1, 128), (2, 256),
    (1, 256),
)  # fmt: skip
"""Stride and channels of each depthwise and pointwise pair."""


def visual_wake_words() -> bytes:
    """96 x 96 x 3 pixels to two classes: 7.5 million MACs."""
    b = Builder(96)
    b.add(activation("image", (1, 96, 96, 3), 1 / 255, -128))
    x = b.conv("first", "image", 8, stride=2)
    for number, (stride, channels) in enumerate(_MOBILENET):
        depth = b.tensors[x].shape[-1]
        x = b.conv(f"depthwise_{number}", x, depth, stride=stride, depthwise=True)
        x = b.conv(f"pointwise_{number}", x, channels, kernel=(1, 1))
    pooled = activation("", (1, 1, 1, 256), 0.05)
    options: dict[str, OptionValue] = {
        "padding": "VALID",
        "stride_w": 3,
        "stride_h": 3,
        "filter_height": 3,
        "filter_width": 3,
    }
    x = b.plain("AVERAGE_POOL_2D", "pool", [x], pooled, **options)
    b.add(ints("shape", [1, 256]))
    x = b.plain("RESHAPE", "flat", [x, "shape"], activation("", (1, 256), 0.05))
    x = b.dense("logits", x, 2)
    b.plain("SOFTMAX", "answer", [x], activation("", (1, 2), 1 / 256), beta=1.0)
    return b.model(["image"], ["answer"])


def autoencoder(features: int = 640, hidden: int = 128, code: int = 8) -> bytes:
    """Features to features over ten dense layers, the fifth narrow: 264 thousand MACs."""
    b = Builder(640)
    x = b.add(activation("features", (1, features), 0.4, 90))
    for number, units in enumerate((*[hidden] * 4, code, *[hidden] * 4)):
        x = b.dense(f"dense_{number}", x, units, scale=0.2, zero_point=-128, fused="RELU")
    b.dense("restored", x, features, scale=0.35, zero_point=84)
    return b.model(["features"], ["restored"])


SHAPES = {"vww (made weights)": visual_wake_words, "ad (made weights)": autoencoder}
