"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

from typing import Any

import numpy as np

from multigraft.converters.importing.tflite.graph_builder import GraphBuilder
from multigraft.tflite.graph import Op


def _resize(b: GraphBuilder, op: Op) -> None:
    have, wanted = b.shapes[op.inputs[0]][1:3], b.shapes[op.outputs[0]][1:3]
    is_nearest = op.name == "RESIZE_NEAREST_NEIGHBOR"
    attributes: dict[str, Any] = {"mode": "nearest" if is_nearest else "linear"}
    if op.options.get("align_corners", False):
        attributes |= {"coordinate_transformation_mode": "align_corners"}
    elif op.options.get("half_pixel_centers", False):
        attributes |= {"coordinate_transformation_mode": "half_pixel"}
    else:
        attributes |= {"coordinate_transformation_mode": "asymmetric"}
    if is_nearest:
        # Half pixels: floor((x + 0.5) * scale) in TFLite, and ONNX takes 0.5 off before it rounds.
        is_plain = attributes["coordinate_transformation_mode"] == "asymmetric"
        attributes |= {"nearest_mode": "floor" if is_plain else "round_prefer_ceil"}
    output = b.named(op.outputs[0])
    scales = [1.0, 1.0, *(float(w) / float(h) for h, w in zip(have, wanted, strict=True))]
    if all(float(s).is_integer() for s in scales):
        inputs = [b.first(op.inputs[0]), "", b.store(f"{output}/scales", np.array(scales, np.float32))]
    else:
        inputs = [b.first(op.inputs[0]), "", "", b.store(f"{output}/sizes", np.array(wanted, np.int64))]
        attributes |= {"axes": [2, 3]}
    b.finish(op, "first", "Resize", inputs, **attributes)


EMITTERS = {"RESIZE_BILINEAR": _resize, "RESIZE_NEAREST_NEIGHBOR": _resize}
