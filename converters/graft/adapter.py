"""The adapter between a donor's representation and what a target expects: a convolution solved in closed form.

A 1x1 (or 3x3) convolution brings channels into place; where the donor's map is larger by a whole factor the convolution
strides, otherwise a bilinear resize comes first. Where the target's cut follows a ReLU or a clip, so does the adapter,
and errors that it hides are not fitted. Ridge regression shrinks what it cannot predict; a linear adapter is scaled
back to the original variance per channel, so that the layers behind it work where they were trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from multigraft.converters.graft.linear import convolution, dense
from multigraft.converters.graft.refit import HELD_OUT_EVERY, MIN_ROWS, sampled_rows
from multigraft.converters.network import Array
from multigraft.linear import LinearLayer
from multigraft.ridge import Solution, fit_rows

MAX_INPUTS = 2400
"""Largest kernel elements times channels that is worth solving; a 3x3 adapter on wide representations is not."""

MAX_SCALE = 4.0
"""Variance restoring never amplifies a channel more than this."""


@dataclass(frozen=True)
class Adapter:
    """Nodes from the donor's tensor to the target's cut tensor.

    Attributes:
        nodes: In order; the first reads ``source``, the last writes the cut tensor.
        constants: Their weights by name.
        source: The donor's tensor.
        relative_error: Squared error over the variance of the original representation, on the frames fitted.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]
    source: str
    relative_error: float


def is_joinable(donor: tuple[int, ...], target: tuple[int, ...], kernel: int) -> bool:
    """Whether an adapter of that kernel can bring the donor's shape to the target's (shapes without the batch)."""
    if len(donor) != len(target) or len(donor) not in (1, 3):
        return False
    if len(donor) == 1:
        return kernel == 1
    stride = _strides(donor, target)
    if stride is None and any(t > 2 * d for d, t in zip(donor[1:], target[1:], strict=True)):
        return False
    return donor[0] * kernel * kernel <= MAX_INPUTS


def fit_adapter(
    received: Array,
    original: Array,
    *,
    kernel: int,
    source: str,
    cut: str,
    prefix: str,
    clamp: onnx.NodeProto | None,
    clamp_constants: dict[str, Array],
    bounds: tuple[float, float] | None,
    seed: int = 0,
) -> Adapter:
    """Solve an adapter from the donor's representation ``received`` to the target's ``original`` on the same frames.

    Args:
        received: (frames, *donor shape).
        original: (frames, *target shape).
        kernel: 1 or 3.
        source: Name of the donor's tensor.
        cut: Name of the target's tensor.
        prefix: Of the names made here.
        clamp: The ReLU or clip node that writes the target's cut, to be repeated after the adapter, or None.
        clamp_constants: Constants of that node.
        bounds: Its bounds.
        seed: Picks the rows where not all are used.
    """
    nodes: list[onnx.NodeProto] = []
    constants = dict(clamp_constants)
    donor, target = received.shape[1:], original.shape[1:]
    weight_name, bias_name = f"{prefix}/weight", f"{prefix}/bias"
    linear_out = cut if clamp is None else f"{prefix}/linear"
    layer: LinearLayer
    if len(target) == 1:
        node = onnx.helper.make_node("Gemm", [source, weight_name, bias_name], [linear_out], f"{prefix}/gemm")
        layer = dense(node, (donor[0], target[0]))
    else:
        strides = _strides(donor, target)
        inner = source
        if strides is None:
            inner, strides = f"{prefix}/resized", (1, 1)
            scales = f"{prefix}/scales"
            # Rounded up, so that the floor of size * scale is never one short.
            pairs = zip(target[1:], donor[1:], strict=True)
            ratios = [np.nextafter(np.float32(t / d), np.float32(8)) for t, d in pairs]
            constants[scales] = np.array([1, 1, *ratios], np.float32)
            nodes.append(
                onnx.helper.make_node(
                    "Resize",
                    [source, "", scales],
                    [inner],
                    f"{prefix}/resize",
                    mode="linear",
                    coordinate_transformation_mode="half_pixel",
                )
            )
            received = _resize(received, target[1:])
        kernel = max(kernel, *strides) if max(strides) > 1 else kernel
        pads = _pads(received.shape[2:], target[1:], kernel, strides)
        node = onnx.helper.make_node(
            "Conv",
            [inner, weight_name, bias_name],
            [linear_out],
            f"{prefix}/conv",
            kernel_shape=[kernel, kernel],
            strides=list(strides),
            pads=pads,
        )
        layer = convolution(node, (target[0], donor[0], kernel, kernel))
    rng = np.random.default_rng(seed)
    design, targets, _, per_frame = sampled_rows(layer, received, original, None, rng, MIN_ROWS)
    held_out = (np.arange(design.shape[1]) // per_frame) % HELD_OUT_EVERY == 0
    solution = fit_rows(design, targets, held_out, layer.weight, bounds)
    if clamp is None:
        solution = _variance_restored(solution, design, targets)
    solved = layer.initializers(solution.weight, solution.intercept)
    constants |= {weight_name: solved[1], bias_name: solved[2]}
    nodes.append(node)
    if clamp is not None:
        repeated = onnx.NodeProto()
        repeated.CopyFrom(clamp)
        repeated.name = f"{prefix}/clamp"
        repeated.input[0], repeated.output[0] = linear_out, cut
        nodes.append(repeated)
    return Adapter(tuple(nodes), constants, source, solution.relative_error)


def _variance_restored(solution: Solution, design: Array, targets: Array) -> Solution:
    predicted = solution.predict(design)
    spread, wanted = predicted.std(1), targets.std(1)
    factor = np.clip(wanted / np.maximum(spread, 1e-6), 1.0, MAX_SCALE).astype(np.float64)
    mean = targets.mean(1, dtype=np.float64)
    return replace(
        solution,
        weight=solution.weight * factor[:, None, :],
        intercept=mean + (solution.intercept - mean) * factor,
    )


def _strides(donor: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, int] | None:
    """Whole factors by which the donor's map is larger, or None."""
    if any(d % t for d, t in zip(donor[1:], target[1:], strict=True)):
        return None
    return donor[1] // target[1], donor[2] // target[2]


def _pads(have: tuple[int, ...], want: tuple[int, ...], kernel: int, strides: tuple[int, int]) -> list[int]:
    total = [max((w - 1) * s + kernel - h, 0) for h, w, s in zip(have, want, strides, strict=True)]
    return [t // 2 for t in total] + [t - t // 2 for t in total]


def _resize(x: Array, size: tuple[int, ...]) -> Array:
    """Bilinear with half-pixel centres, as the Resize node does it."""
    for axis, length in zip((2, 3), size, strict=True):
        have = x.shape[axis]
        position = np.clip((np.arange(length) + 0.5) * have / length - 0.5, 0, have - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, have - 1)
        share = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x
