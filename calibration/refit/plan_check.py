"""A plan of an unknown sender is checked before a frame is run: what it names is there, and its layers fit together.

What a layer needs is bounded by what it is tried with once: tensors of zeros, of the shapes that the model has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.refit.stage_solver import StageSolver
from multigraft.errors import BundleError
from multigraft.refit.linear_layer import Geometry, layer_of
from multigraft.refit.refit_plan import SEGMENT, PlannedGraft, RefitPlan, Stage, is_choice
from multigraft.tensors.arrays import Array

LARGEST_SUMS = 2 << 30
"""Bytes of one layer's sums; a device that has more to sum is better given a later share point."""
LARGEST_DESIGN = 1 << 30
"""Elements of one frame's inputs of a layer, one row per position, before rows are picked."""
_MOST_STEPS = 1 << 12
"""Strides, dilations and pads are smaller."""


def check_plan(plan: RefitPlan, arrays: Mapping[str, Array], bundle: Bundle) -> None:
    """Check a plan against its arrays and its model.

    Raises:
        BundleError: Something is missing, of another form, or too large.
    """
    numbers = len(bundle.model) // 4
    try:
        if len({graft.target for graft in plan.grafts}) != len(plan.grafts):
            raise ValueError("a task is grafted twice")
        for graft in plan.grafts:
            shapes = _shapes(graft, bundle)
            if len({stage.layer for stage in graft.stages}) != len(graft.stages):
                raise ValueError(f"a layer of {graft.target} is solved twice")
            for stage in graft.stages:
                _check_arrays(stage, arrays, numbers)
                _try(stage, arrays, shapes)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError, StopIteration) as error:
        raise BundleError(
            f"the plan of {bundle.manifest.name} is damaged ({error})", "make one with multigraft calibrate plan"
        ) from error


def _shapes(graft: PlannedGraft, bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """Every tensor that is read, to its shape, channels first."""
    written = bundle.manifest.segment(f"{SEGMENT}{graft.target}").outputs.values()
    shapes = {}
    for name, axes in graft.axes.items():
        if name not in written or sorted(axes) != list(range(len(axes))):
            raise ValueError(f"{name} cannot be read")
        shape = bundle.manifest.tensor(name).shape
        # A signal has a height of 1 in the model.
        shape = (shape[0], *shape[2:]) if len(shape) > len(axes) and shape[1] == 1 else shape
        if len(shape) != len(axes) or shape[0] != 1:
            raise ValueError(f"{name} has shape {shape}")
        shapes[name] = tuple(shape[axis] for axis in axes)
    pairs = list(zip(graft.outputs, graft.grafted_outputs, strict=True))
    if not pairs or any(shapes[one] != shapes[other] for one, other in pairs):
        raise ValueError(f"the outputs of {graft.target} differ")
    return shapes


def _check_arrays(stage: Stage, arrays: Mapping[str, Array], numbers: int) -> None:
    keys = [f"{stage.layer}/{position}" for position in (1, 2)]
    for key in keys if keys[1] in arrays else keys[:1]:
        weights, places = arrays[key], arrays[f"{key}/places"]
        if weights.dtype != np.float32 or not np.isfinite(weights).all():
            raise ValueError(f"{key} is no array of float32 numbers")
        if places.dtype.kind not in "iu" or places.shape != weights.shape:
            raise ValueError(f"the places of {key} do not fit it")
        if places.size and not 0 <= int(places.min()) <= int(places.max()) < numbers:
            raise ValueError(f"the places of {key} lie outside of the model")


def _try(stage: Stage, arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Add one frame of zeros to the layer's sums."""
    weights = arrays[f"{stage.layer}/1"]
    _check_geometry(stage.geometry, weights, shapes[stage.receives])
    if not all(bound is None or math.isfinite(bound) for bound in (stage.low, stage.high)):
        raise ValueError(f"{stage.layer} is clamped to what is no number")
    layer = layer_of(stage.geometry, weights, arrays.get(f"{stage.layer}/2"))
    groups, inputs, outputs = layer.weight.shape
    if 16 * groups * inputs * (inputs + outputs) > LARGEST_SUMS:
        raise ValueError(f"the sums of {stage.layer} take more than {LARGEST_SUMS >> 30} GiB")
    for name in filter(None, (stage.wanted, stage.skip_original)) if stage.left else ():
        # Places that are named twice would make a tensor of any size.
        if not (0 < stage.axis < len(shapes[name]) and is_choice(stage.left, shapes[name][stage.axis])):
            raise ValueError(f"{name} has other places than are left of it")
    names = [name for name in (stage.receives, stage.wanted, stage.skip_now, stage.skip_original) if name]
    StageSolver(stage, layer, 1, 0).add({name: np.zeros(shapes[name], np.float32) for name in names})
    for key, value in layer.initializers(layer.weight, layer.intercept).items():
        held = arrays.get(f"{stage.layer}/{key}")
        if held is not None and held.shape != value.shape:
            raise ValueError(f"{stage.layer} has weights of another shape")


def _check_geometry(geometry: Geometry, weights: Array, given: tuple[int, ...]) -> None:
    steps = (*geometry.strides, *geometry.dilations, geometry.groups)
    if not all(0 < step < _MOST_STEPS for step in steps):
        raise ValueError("a layer has steps that cannot be")
    if not all(0 <= pad < _MOST_STEPS for pad in (*geometry.pads, *geometry.output_padding)):
        raise ValueError("a layer has pads that cannot be")
    if not all(math.isfinite(v) for v in (geometry.alpha, geometry.beta, geometry.epsilon)) or geometry.alpha == 0:
        raise ValueError("a layer has a factor that cannot be")
    if geometry.kind in ("convolution", "transposed"):
        rank = len(given) - 2
        if weights.ndim != rank + 2 or not len(geometry.strides) == len(geometry.dilations) == rank:
            raise ValueError("a layer is of another rank than its weights")
        if len(geometry.pads) != 2 * rank:
            raise ValueError("a layer has other pads than sides")
        spread = geometry.strides if geometry.kind == "transposed" else (1,) * rank
        sides = [
            n * s + before + after + (k - 1) * d
            for n, s, before, after, k, d in zip(
                given[2:], spread, geometry.pads[:rank], geometry.pads[rank:], weights.shape[2:], geometry.dilations,
                strict=True,
            )
        ]  # fmt: skip
        if math.prod(sides) * given[1] * math.prod(weights.shape[2:]) > LARGEST_DESIGN:
            raise ValueError("a layer takes too much memory")
