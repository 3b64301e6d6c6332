"""One .tflite file that computes with integers or bits: it joins a bundle as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multigraft.converters.importing.tflite.standing import load_standing
from multigraft.converters.network.frames import Frame
from multigraft.converters.packing.standing import empty_bundle, standing_agreement, with_standing
from multigraft.tensors.preprocessing import Preprocessing
from tests.benchmarks.natural_pictures import natural_pictures
from tests.benchmarks.network_row import Row, Stopwatch, count_and_time

CONFIDENCE = 0.95


def measure_standing(row: Row, path: Path, watch: Stopwatch, count: int) -> None:
    """Fill ``row``: the bundle is compared with the file bit for bit, and its answers on ``count`` frames.

    Raises:
        MultigraftError: The file cannot join a bundle.
    """
    network = load_standing(path, "net", None, "other")
    watch("import")
    made = network.preprocessing
    frames: list[Frame]
    if isinstance(made, Preprocessing):
        row.size = made.channels, made.height, made.width
        frames = list(natural_pictures(count, made.height, made.width, made.channels))
    else:
        row.size = made.shape
        frames = list(np.random.default_rng(0).standard_normal((count, *made.shape), np.float32))
    tensors = network.graph.tensors.values()
    row.parameters = sum(int(t.data.size) for t in tensors if t.data is not None and t.data.size > 1)
    bundle = with_standing(empty_bundle("net", {}), [network], ["net"], {"net": frames})
    watch("int8")
    row.agreement = standing_agreement(bundle, network, frames, CONFIDENCE, None).value
    row.agreement_kind = network.kind
    row.bare = "as it is"
    count_and_time(row, "bare", network.content)
    count_and_time(row, "int8", bundle.model)
    row.outcome = "through"
