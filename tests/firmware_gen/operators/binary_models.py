"""Binary networks that firmware takes, and the .tflite file of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.runtime.delegate.binary_cases import Conv, model_of, with_values

NETWORKS: dict[str, Conv] = {
    "binary int8 to int8": Conv(channels=70, outputs=9, source="int8", output="int8", activation=1),
    "binary float to float": Conv(stride=(2, 1), dilation=(1, 2), is_valid=True),
    "binary padded by nothing": Conv(channels=33, source="int8", output="int8", pads_one=False),
    "binary groups": Conv(channels=128, outputs=6, groups=2, source="int8", output="packed"),
    "binary of many words": Conv(height=3, width=3, channels=1100, outputs=3, source="int8", output="int8"),
    "binary pooled": Conv(
        height=7, width=6, channels=40, outputs=36, kernel=(3, 2), output="packed", pool=(2, 2, 0), source="int8",
        second=Conv(height=4, width=3, channels=36, outputs=5, kernel=(1, 1), output="int8"),
    ),
}  # fmt: skip


def _model(case: Conv) -> bytes:
    return model_of(with_values(case, np.random.default_rng(7)))


BINARY: dict[str, Callable[[], bytes]] = {name: partial(_model, case) for name, case in NETWORKS.items()}
