"""Detectors of a few layers whose heads join boxes of 0 to 640 and scores of 0 to 1, as well-known families do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.answers.kind import Kind
from multigraft.bundle.manifest import Task
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.onnx_builder import OnnxBuilder

PICTURE = Preprocessing(32, 32, "rgb", (127.5,) * 3, (1 / 64,) * 3)
CUT = "trunk/features"
CLASSES = 3


def frames(count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Smooth random pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return list(coarse.repeat(4, axis=1).repeat(4, axis=2))


class Head(OnnxBuilder):
    """A trunk that strides by 4, and what heads are made of."""

    def __init__(self) -> None:
        super().__init__(3)
        features = self.conv_relu("stem", self.input("image", 3, 32, 32), 8, 3, 2)
        self.features = self.conv_relu(CUT, features, 8, 3, 2)

    def shaped(self, name: str, x: str, *shape: int) -> str:
        return self.add("Reshape", name, x, self.constant(f"{name}/shape", np.array(shape, np.int64)))

    def times(self, name: str, x: str, factor: Any) -> str:
        return self.add("Mul", name, x, self.constant(f"{name}/factor", np.array(factor, np.float32)))

    def with_tasks(self, kind: Kind, *outputs: str) -> MultiTaskModel:
        """``find`` answers with ``outputs`` and ``kind`` with classes, on one trunk."""
        logits = self.classifier("kind/logits", self.features, 4)
        return MultiTaskModel(
            self.model(*outputs, logits),
            {"image": PICTURE},
            (
                SegmentSpec("trunk", ("image",), (CUT,)),
                SegmentSpec("head_find", (CUT,), outputs),
                SegmentSpec("head_kind", (CUT,), (logits,)),
            ),
            (
                Task("find", kind, outputs, ("trunk", "head_find")),
                Task("kind", "classification", (logits,), ("trunk", "head_kind"), relation="donor"),
            ),
        )


def boxes_beside_scores(kind: Kind = "detection", largest: float = 640.0) -> MultiTaskModel:
    """As YOLOv8: boxes and scores of all places, one after the other."""
    b = Head()
    places = b.times("boxes/logits", b.conv("boxes/map", b.features, 4), 0.5)
    boxes = b.add("Sigmoid", "boxes/share", b.shaped("boxes/flat", places, 1, 4, 64))
    logits = b.times("scores/logits", b.conv("scores/map", b.features, CLASSES), 0.5)
    scores = b.add("Sigmoid", "scores", b.shaped("scores/flat", logits, 1, CLASSES, 64))
    output = b.add("Concat", "output", b.times("boxes", boxes, largest), scores, axis=1, channels=1)
    return b.with_tasks(kind, output)


def places_of_two_sizes() -> MultiTaskModel:
    """As YOLOv5: boxes beside scores at every place of a size, then the sizes one after the other; a second output."""
    b = Head()
    sizes = []
    for size, side, x in ((0, 8, b.features), (1, 4, b.conv_relu("down", b.features, 8, 3, 2))):
        found = b.times(f"map{size}", b.conv(f"map{size}/conv", x, 2 * (4 + CLASSES), 1), 0.35)
        found = b.shaped(f"map{size}/anchors", found, 1, 2, 4 + CLASSES, side, side)
        found = b.add("Sigmoid", f"map{size}/share", b.add("Transpose", f"map{size}/last", found, perm=[0, 1, 3, 4, 2]))
        b.constant(f"split{size}", np.array([2, 2, CLASSES], np.int64))
        b.nodes.append(_split(f"map{size}/share", f"split{size}", [f"{n}{size}" for n in ("xy", "wh", "scores")]))
        b.channels |= {f"{n}{size}": 1 for n in ("xy", "wh", "scores")}
        xy, wh = b.times(f"centre{size}", f"xy{size}", 640), b.times(f"extent{size}", f"wh{size}", [[[[320, 200]]]])
        joined = b.add("Concat", f"joined{size}", xy, wh, f"scores{size}", axis=4)
        sizes.append(b.shaped(f"places{size}", joined, 1, 2 * side * side, 4 + CLASSES))
    output = b.add("Concat", "output", *sizes, axis=1)
    return b.with_tasks("detection", output, b.conv("mask", b.features, 2))


def decoded_slices() -> MultiTaskModel:
    """As YOLOX: sizes, each with boxes and scores joined, one after the other; then boxes are cut out and decoded."""
    b = Head()
    sizes = []
    for size, side, x in ((0, 8, b.features), (1, 4, b.conv_relu("down", b.features, 8, 3, 2))):
        boxes = b.times(f"boxes{size}/steps", b.conv(f"boxes{size}", x, 4, 1), 0.3)
        logits = b.times(f"logits{size}", b.conv(f"scores{size}/map", x, CLASSES, 1), 0.35)
        scores = b.add("Sigmoid", f"scores{size}", logits)
        joined = b.add("Concat", f"joined{size}", boxes, scores, axis=1, channels=4 + CLASSES)
        sizes.append(b.shaped(f"flat{size}", joined, 1, 4 + CLASSES, side * side))
    every = b.add("Transpose", "every", b.add("Concat", "sizes", *sizes, axis=2), perm=[0, 2, 1])
    b.constant("sides", np.array([2, 2, CLASSES], np.int64))
    b.nodes.append(_split(every, "sides", ["xy", "wh", "scores"], 2))
    b.channels |= {"xy": 1, "wh": 1, "scores": 1}
    stride = np.repeat([8.0, 16.0], [64, 16]).reshape(1, 80, 1)
    grid = np.random.default_rng(0).uniform(0, 36, (1, 80, 2)).astype(np.float32)
    centre = b.times("centre", b.add("Add", "placed", "xy", b.constant("grid", grid)), stride)
    extent = b.times("extent", b.add("Exp", "grown", b.times("share", "wh", 0.3)), stride)
    return b.with_tasks("detection", b.add("Concat", "output", centre, extent, "scores", axis=2))


def times_after_the_join() -> MultiTaskModel:
    """Boxes of 0 to 1 are joined with scores, and only then multiplied by the size of the picture."""
    b = Head()
    places = b.times("boxes/logits", b.conv("boxes/map", b.features, 4), 0.5)
    boxes = b.add("Sigmoid", "boxes", b.shaped("boxes/flat", places, 1, 4, 64))
    logits = b.times("scores/logits", b.conv("scores/map", b.features, CLASSES), 0.5)
    scores = b.add("Sigmoid", "scores", b.shaped("scores/flat", logits, 1, CLASSES, 64))
    joined = b.add("Transpose", "turned", b.add("Concat", "joined", boxes, scores, axis=1), perm=[0, 2, 1])
    factors = np.array([640.0] * 4 + [1.0] * CLASSES).reshape(1, 1, -1)
    return b.with_tasks("other", b.times("output", joined, factors))


def _split(x: str, sizes: str, outputs: list[str], axis: int = 4) -> Any:
    from onnx import helper

    return helper.make_node("Split", [x, sizes], outputs, axis=axis)
