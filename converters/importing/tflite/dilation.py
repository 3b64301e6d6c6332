"""SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND: how converters of old wrote a dilated convolution.

Each of the images that are dealt out is convolved without padding, so that the three are padding, a dilated convolution
and a slice.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from multigraft.converters.importing.tflite.folding import alive
from multigraft.tflite.graph import Graph, Op, Tensor

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def join_dilations(graph: Graph) -> Graph:
    """``graph`` with those three written as the one convolution that they are, wherever they stand in a row."""
    tensors = dict(graph.tensors)
    producers = graph.producers()
    replaced: dict[int, tuple[Op, ...]] = {}
    for last in graph.ops:
        if last.name != "BATCH_TO_SPACE_ND":
            continue
        middle = producers.get(last.inputs[0])
        first = producers.get(middle.inputs[0]) if middle else None
        if middle is None or first is None or not _fits(graph, first, middle, last):
            continue
        replaced[id(last)] = _dilated(first, middle, last, tensors)
    ops = [new for op in graph.ops for new in replaced.get(id(op), (op,))]
    return alive(dataclasses.replace(graph, ops=tuple(ops), tensors=tensors)) if replaced else graph


def _fits(graph: Graph, first: Op, middle: Op, last: Op) -> bool:
    options = middle.options
    plain = all(options.get(k, 1) == 1 for k in ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor"))
    if first.name != "SPACE_TO_BATCH_ND" or middle.name not in _CONVOLUTIONS or not plain:
        return False
    constants = [graph.constant(n) for op in (first, last) for n in op.inputs[1:3]]
    if any(c is None for c in constants) or len(graph.tensors[first.inputs[0]].shape) != 4:
        return False
    blocks, again = constants[0], constants[2]
    return options.get("padding", "SAME") == "VALID" and blocks is not None and np.array_equal(blocks, again)  # type: ignore[arg-type]


def _dilated(first: Op, middle: Op, last: Op, tensors: dict[str, Tensor]) -> tuple[Op, ...]:
    def constant(name: str, value: object) -> str:
        array = np.array(value, np.int32)
        tensors[name] = Tensor(name, array.shape, "int32", None, array)
        return name

    blocks, edges = (np.asarray(tensors[n].data) for n in first.inputs[1:3])
    crops = np.asarray(tensors[last.inputs[2]].data)
    source, output = tensors[first.inputs[0]], tensors[last.outputs[0]]
    base = output.name
    padded = tuple(s + int(e.sum()) for s, e in zip(source.shape[1:3], edges, strict=True))
    whole = tuple(s + int(c.sum()) for s, c in zip(output.shape[1:3], crops, strict=True))
    for name, size, channels in (
        (f"{base}/padded", padded, source.shape[3]),
        (f"{base}/whole", whole, output.shape[3]),
    ):
        tensors[name] = Tensor(name, (source.shape[0], *size, channels))
    pad = Op("PAD", (source.name, constant(f"{base}/edges", [[0, 0], *edges.tolist(), [0, 0]])), (f"{base}/padded",))
    options = {**middle.options, "dilation_h_factor": int(blocks[0]), "dilation_w_factor": int(blocks[1])}
    conv = dataclasses.replace(
        middle, inputs=(f"{base}/padded", *middle.inputs[1:]), outputs=(f"{base}/whole",), options=options
    )
    conv = dataclasses.replace(conv, version=max(conv.version, 2))
    begin = constant(f"{base}/begin", [0, *crops[:, 0].tolist(), 0])
    crop = Op("SLICE", (f"{base}/whole", begin, constant(f"{base}/size", list(output.shape))), (base,))
    return pad, conv, crop
