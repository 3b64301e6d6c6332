"""The adapter between a donor's representation and what a target expects: a convolution solved in closed form.

A 1x1 (or 3x3) convolution brings channels into place; where the donor's map is larger by a whole factor the convolution
strides, otherwise a bilinear resize comes first. Where the target's cut follows a ReLU or a clip, so does the adapter,
and errors that it hides are not fitted. Ridge regression shrinks what it cannot predict; a linear adapter is scaled
back to the original variance per channel, so that the layers behind it work where they were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from multigraft.converters.graft.onnx_linear_layer import convolution, dense
from multigraft.converters.graft.refit import sampled_rows
from multigraft.converters.network.network import Array
from multigraft.refit.linear_layer import HELD_OUT_EVERY, LinearLayer
from multigraft.refit.ridge import RidgeSums, fit_rows, variance_restored

MAX_INPUTS = 2400
"""Largest kernel elements times channels that is worth solving; a 3x3 adapter on wide representations is not."""


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
    if len(donor) != len(target) or len(donor) not in (1, 2, 3):
        return False
    if len(donor) == 1:
        return kernel == 1
    stride = _strides(donor, target)
    if stride is None and len(donor) == 2:
        return False
    if stride is None and any(t > 2 * d for d, t in zip(donor[1:], target[1:], strict=True)):
        return False
    return donor[0] * int(kernel ** (len(donor) - 1)) <= MAX_INPUTS


@dataclass(frozen=True)
class AdapterDraft:
    """An adapter whose weights are not solved yet.

    Attributes:
        before: A resize, or nothing.
        node: The linear node.
        after: The repeated clamp, or nothing.
        constants: Those of the nodes before and after.
        layer: The linear view of ``node``, all weights 0.
        weight: Name of its weights.
        bias: Name of its intercepts.
        size: Height and width (of a signal, its length) that the resize gives, or None.
        bounds: The clamp's smallest and largest value, or None.
    """

    before: tuple[onnx.NodeProto, ...]
    node: onnx.NodeProto
    after: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array]
    layer: LinearLayer
    weight: str
    bias: str
    size: tuple[int, ...] | None
    bounds: tuple[float, float] | None

    @property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """All, in order."""
        return (*self.before, self.node, *self.after)


def draft_adapter(
    donor: tuple[int, ...],
    target: tuple[int, ...],
    *,
    kernel: int,
    source: str,
    cut: str,
    prefix: str,
    clamp: onnx.NodeProto | None,
    clamp_constants: dict[str, Array],
    bounds: tuple[float, float] | None,
) -> AdapterDraft:
    """The nodes of an adapter.

    Args:
        donor: Shape of the donor's tensor, without the batch.
        target: Shape of the target's.
        kernel: 1 or 3.
        source: Name of the donor's tensor.
        cut: Name of the target's tensor.
        prefix: What the names made here begin with.
        clamp: The ReLU or clip node that writes the target's cut, to be repeated after the adapter, or None.
        clamp_constants: Constants of that node.
        bounds: Its bounds.
    """
    constants = dict(clamp_constants)
    weight, bias = f"{prefix}/weight", f"{prefix}/bias"
    linear_out = cut if clamp is None else f"{prefix}/linear"
    before: tuple[onnx.NodeProto, ...] = ()
    size: tuple[int, ...] | None = None
    layer: LinearLayer
    if len(target) == 1:
        # The other orientation becomes a product and a sum in onnx2tf, which is one more tensor to quantise.
        node = onnx.helper.make_node("Gemm", [source, weight, bias], [linear_out], f"{prefix}/gemm", transB=1)
        layer = dense(node, (target[0], donor[0]))
    else:
        strides = _strides(donor, target)
        inner, have = source, donor[1:]
        if strides is None:
            inner, strides, size, have = f"{prefix}/resized", (1,) * len(target[1:]), target[1:], target[1:]
            scales = f"{prefix}/scales"
            # Rounded up, so that the floor of size * scale is never one short.
            pairs = zip(target[1:], donor[1:], strict=True)
            ratios = [np.nextafter(np.float32(t / d), np.float32(8)) for t, d in pairs]
            constants[scales] = np.array([1, 1, *ratios], np.float32)
            resize = onnx.helper.make_node(
                "Resize",
                [source, "", scales],
                [inner],
                f"{prefix}/resize",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
            before = (resize,)
        kernel = max(kernel, *strides) if max(strides) > 1 else kernel
        node = onnx.helper.make_node(
            "Conv",
            [inner, weight, bias],
            [linear_out],
            f"{prefix}/conv",
            kernel_shape=[kernel] * len(strides),
            strides=list(strides),
            pads=_pads(have, target[1:], kernel, strides),
        )
        layer = convolution(node, (target[0], donor[0], *[kernel] * len(strides)))
    after: tuple[onnx.NodeProto, ...] = ()
    if clamp is not None:
        repeated = onnx.NodeProto()
        repeated.CopyFrom(clamp)
        repeated.name = f"{prefix}/clamp"
        repeated.input[0], repeated.output[0] = linear_out, cut
        after = (repeated,)
    return AdapterDraft(before, node, after, constants, layer, weight, bias, size, bounds)


def fit_adapter(draft: AdapterDraft, received: Array, original: Array, source: str, seed: int = 0) -> Adapter:
    """Solve an adapter from the donor's representation ``received`` to the target's ``original`` on the same frames.

    Args:
        draft: Its nodes.
        received: (frames, *donor shape).
        original: (frames, *target shape).
        source: Name of the donor's tensor.
        seed: Picks the rows where not all are used.
    """
    layer = draft.layer
    if draft.size is not None:
        received = _resize(received, draft.size)
    rng = np.random.default_rng(seed)
    design, targets, _, per_frame = sampled_rows(layer, received, original, None, rng)
    held_out = (np.arange(design.shape[1]) // per_frame) % HELD_OUT_EVERY == 0
    solution = fit_rows(design, targets, held_out, layer.weight, draft.bounds)
    if not draft.after:
        sums = RidgeSums.empty(*layer.weight.shape)
        sums.add(design, targets)
        solution = variance_restored(solution, sums)
    solved = layer.initializers(solution.weight, solution.intercept)
    constants = draft.constants | {draft.weight: solved[1], draft.bias: solved[2]}
    return Adapter(draft.nodes, constants, source, solution.relative_error)


def _strides(donor: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
    """Whole factors by which the donor's map is larger, or None."""
    if any(d % t for d, t in zip(donor[1:], target[1:], strict=True)):
        return None
    return tuple(d // t for d, t in zip(donor[1:], target[1:], strict=True))


def _pads(have: tuple[int, ...], want: tuple[int, ...], kernel: int, strides: tuple[int, ...]) -> list[int]:
    total = [max((w - 1) * s + kernel - h, 0) for h, w, s in zip(have, want, strides, strict=True)]
    return [t // 2 for t in total] + [t - t // 2 for t in total]


def _resize(x: Array, size: tuple[int, ...]) -> Array:
    """(Bi)linear with half-pixel centres, as the Resize node does it."""
    for axis, length in enumerate(size, 2):
        have = x.shape[axis]
        position = np.clip((np.arange(length) + 0.5) * have / length - 0.5, 0, have - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, have - 1)
        share = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x
