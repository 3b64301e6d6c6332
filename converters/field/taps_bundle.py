"""The taps bundle: the original networks in float32, side by side, with their representations as outputs.

It goes to the device for field calibration. A representation is tapped by making it an output; nothing else changes
what the interpreter computes or can fuse. What lies between the taps is looked at by
:mod:`multigraft.converters.field.range_stretches`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from multigraft.bundle.bundle import GOLDEN_OUTPUTS, Bundle
from multigraft.bundle.tap_outputs import TAP_PAIRS
from multigraft.converters.field.bundle_kinds import TapsBundle
from multigraft.converters.field.range_stretches import with_inner_stretches
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.cut_frames import answer_on_device, detections_of
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import CutPoint, Network
from multigraft.converters.packing.convert import convert
from multigraft.npz import read_npz, stored_npz_bytes
from multigraft.tensors.preparation import blank_frame

VERIFIED_INPUTS = 32
"""Random inputs on which the bundle is compared with the uncut model: one segment per network leaves little to cut."""


MAX_CROSS_SUMS = 1 << 17
"""Most entries of all second moments together: 1 MiB as float64."""


def tapped_points(network: Network, is_every: bool = False) -> tuple[CutPoint, ...]:
    """The cut points to tap: all but bulges, which have more features than one before and one behind them.

    Sharing up to a bulge (the widened tensors of an inverted residual) hands over more than sharing up to the narrow
    point before it, and shares fewer layers than the narrow point behind it; yet bulges hold most of the features, and
    so of the time and memory, of a network like MobileNetV2.

    Args:
        network: Any.
        is_every: Tap bulges too.
    """
    sizes = [math.prod(p.shape) for p in network.cut_points]
    return tuple(
        point
        for i, point in enumerate(network.cut_points)
        if is_every or sizes[i] <= min(sizes[: i + 1]) or sizes[i] <= min(sizes[i:])
    )


def stitching_pairs(networks: Sequence[Network], is_every: bool = False) -> tuple[tuple[str, str], ...]:
    """Taps between which second moments are worth keeping: for every tap and other network of the same frames or crops,
    the one that fits best.

    That is, of as many positions: of equal channels if there is one, then at the most similar relative depth. Deep
    pairs, which save most, come first, as long as all sums together have at most :data:`MAX_CROSS_SUMS` entries.
    """
    points = {n.name: tapped_points(n, is_every) for n in networks}
    depth = {p.name: (i + 1) / len(of_network) for of_network in points.values() for i, p in enumerate(of_network)}
    width = {p.name: p.shape[0] for of_network in points.values() for p in of_network}
    wanted: dict[tuple[str, str], None] = {}
    for a, b in itertools.permutations(networks, 2):
        if not a.sees_frames_of(b):
            continue
        for t in points[b.name]:
            fitting = [d for d in points[a.name] if d.shape[1:] == t.shape[1:] and len(t.shape) in (1, 3)]
            best = min(fitting, key=lambda d: (d.shape != t.shape, abs(depth[d.name] - depth[t.name])), default=None)
            if best is not None:
                first, second = (best.name, t.name) if networks.index(a) < networks.index(b) else (t.name, best.name)
                wanted[first, second] = None
    kept: list[tuple[str, str]] = []
    has_moments: set[str] = set()
    entries = 0
    for pair in sorted(wanted, key=lambda pair: -max(depth[p] for p in pair)):
        cost = width[pair[0]] * width[pair[1]] + sum(width[p] ** 2 for p in pair if p not in has_moments)
        if entries + cost <= MAX_CROSS_SUMS:
            entries += cost
            has_moments |= set(pair)
            kept.append(pair)
    return tuple(kept)


def tapped_model(networks: Sequence[Network], is_every: bool = False) -> MultiTaskModel:
    """All networks in one graph, one segment each, whose outputs are its taps and the task's outputs."""
    apart = assemble(networks, SharingPlan({}, 0, 0))
    segments = tuple(
        SegmentSpec(
            f"head_{n.name}",
            (n.input,),
            tuple(dict.fromkeys([*(p.name for p in tapped_points(n, is_every)), *n.outputs])),
        )
        for n in networks
    )
    provenance: dict[str, Any] = {
        "sources": apart.provenance["sources"],
        "plan": "taps for field calibration",
        TAP_PAIRS: [list(pair) for pair in stitching_pairs(networks, is_every)],
        "taps": {n.name: [p.name for p in tapped_points(n, is_every)] for n in networks},
    }
    # Which crops are collected from must not depend on how fast a device is.
    tasks = tuple(
        dataclasses.replace(t, on=dataclasses.replace(t.on, deadline_us=None) if t.on else None) for t in apart.tasks
    )
    model = onnx.ModelProto()
    model.CopyFrom(apart.model)
    return MultiTaskModel(model, apart.inputs, segments, tasks, provenance)


def make_taps_bundle(
    networks: Sequence[Network], name: str, work_dir: Path, report: Report = silent, *, is_every: bool = False
) -> TapsBundle:
    """Convert the networks to a taps bundle.

    Args:
        networks: Originals, as imported.
        name: The bundle's name.
        work_dir: An existing folder for intermediate files.
        report: Takes a line for each step.
        is_every: Tap every cut point; see :func:`tapped_points`.

    Raises:
        ConversionError: The conversion failed, or its result is not equal to the networks.
        ConfigurationError: A network looks at the boxes of one that finds none, by its format.
    """
    finders = {n.on.task for n in networks if n.on is not None}
    for network in networks:
        if network.name in finders:
            answer_on_device(network)
            detections_of(network, [blank_frame(network.preprocessing)])
    model = tapped_model(networks, is_every)
    made = convert(
        model, {}, precision="float32", name=name, work_dir=work_dir, report=report, verified_inputs=VERIFIED_INPUTS
    )
    names = [n.name for n in networks]
    return TapsBundle(with_inner_stretches(_without_golden_taps(made.bundle), names))


def _without_golden_taps(bundle: Bundle) -> Bundle:
    """The same with golden outputs of the tasks alone: those of taps would be most of what a small device loads."""
    answers = {output for task in bundle.manifest.tasks for output in task.outputs}
    outputs = read_npz(bundle.read(GOLDEN_OUTPUTS))
    golden = stored_npz_bytes({name: value for name, value in outputs.items() if name in answers})
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    return Bundle.create(bundle.manifest, {**contents, GOLDEN_OUTPUTS: golden})
