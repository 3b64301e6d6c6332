"""What a device needs to refit grafted layers itself: a refit bundle, and the weights that come back from it.

A refit bundle (``multigraft calibrate plan``) is a bundle with one float32 segment per graft, ``refit_TASK``: the donor
up to the share point, the original network, and the grafted rest of it, whose solved weights stand at known places of
the model file, so that a device replaces them by writing numbers there. A network that is thinned stands there beside
itself with fewer channels, as one on no donor. ``plan.json`` names the tensors of every layer,
``plan.npz`` holds the places and the original weights.

A refit file (``NAME.mgrefit``) is what comes back: new weights per layer, each solved from sums over at least a stated
number of frames, and the agreement that was measured on frames behind those. It is a NumPy .npz file.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from multigraft import files
from multigraft.answers.kind import Kind
from multigraft.bundle.bundle import Bundle
from multigraft.errors import BundleError, InputError
from multigraft.json_decoding import decode
from multigraft.npz import npz_bytes, read_npz
from multigraft.reading import parse_json, read_file
from multigraft.refit.linear_layer import Geometry
from multigraft.tensors.arrays import Array, Arrays

SCHEMA = 1
PLAN = "plan.json"
ARRAYS = "plan.npz"
SEGMENT = "refit_"
THINNED = "thinned"
"""Method of a network that stands alone with fewer channels: donor and points are itself and its input."""

_MANIFEST = "manifest"
_LARGEST_FILE = 512 << 20


def is_choice(places: Sequence[int], end: int) -> bool:
    """Whether these are some of so many places, in ascending order."""
    is_ascending = all(one < other for one, other in itertools.pairwise(places))
    return bool(places) and is_ascending and places[0] >= 0 and places[-1] < end


@dataclass(frozen=True)
class Stage:
    """One layer to solve.

    Attributes:
        layer: Its output tensor in the original network; names it.
        geometry: What it computes.
        receives: Tensor that it receives in the grafted network.
        wanted: Tensor with what it shall give.
        skip_now: The other side of a residual sum behind it, as it is in the grafted network; empty if there is none.
        skip_original: The same in the original network.
        low: Lower bound of the clamp that follows, or None.
        high: Upper bound of it, or None.
        is_adapter: Its weights have no original: the ridge pulls them to zero.
        restores_variance: The solution is scaled back to the variance of what it shall give.
        left: Places along ``axis`` that are left of ``wanted`` and ``skip_original``; all of them if empty.
        axis: Of those, that of the frames included.
    """

    layer: str
    geometry: Geometry
    receives: str
    wanted: str
    skip_now: str = ""
    skip_original: str = ""
    low: float | None = None
    high: float | None = None
    is_adapter: bool = False
    restores_variance: bool = False
    left: tuple[int, ...] = ()
    axis: int = 1

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Bounds of the clamp that follows, or None."""
        if self.low is None and self.high is None:
            return None
        return -np.inf if self.low is None else self.low, np.inf if self.high is None else self.high


@dataclass(frozen=True)
class PlannedGraft:
    """One target on its donor.

    Attributes:
        target: Task that is grafted.
        donor: Task on whose trunk it is grafted.
        donor_point: Tensor of the donor that is shared.
        target_point: Tensor of the target in whose place it comes.
        method: refit, adapter1, adapter3 or :data:`THINNED`.
        relation: relative or independent.
        kind: Kind of the target's outputs.
        outputs: Outputs of the original network.
        grafted_outputs: The same outputs of the grafted network.
        stages: Layers in the order in which they are solved.
        axes: Tensor to the order of its axes in the model, by which it is transposed back to channels first.
        cka: Unbiased CKA at the share point, where it is known.
        tolerance: Tolerance of the agreement; None for the default of the kind.
        kept: Of a thinned network: first tensor of a group of channels to those that stay.
    """

    target: str
    donor: str
    donor_point: str
    target_point: str
    method: str
    relation: str
    kind: Kind
    outputs: tuple[str, ...]
    grafted_outputs: tuple[str, ...]
    stages: tuple[Stage, ...]
    axes: dict[str, tuple[int, ...]]
    cka: float | None = None
    tolerance: float | None = None
    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RefitPlan:
    """All grafts of a refit bundle; ``sources`` is network to the SHA-256 of its file."""

    grafts: tuple[PlannedGraft, ...]
    sources: dict[str, str]
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """The plan as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def of(cls, bundle: Bundle) -> tuple[Self, dict[str, Array]]:
        """Plan and arrays of a refit bundle.

        Raises:
            BundleError: It is another bundle, or a newer one.
        """
        again = "make one with multigraft calibrate plan"
        if PLAN not in bundle.manifest.files or ARRAYS not in bundle.manifest.files:
            raise BundleError(f"{bundle.manifest.name} is no refit bundle", again)
        try:
            data = parse_json(bundle.read(PLAN))
            schema = data.get("schema") if isinstance(data, dict) else None
            if schema != SCHEMA:
                raise BundleError(f"{bundle.manifest.name} has a plan of schema {schema}", again)
            plan: Self = decode(cls, data, "plan")
            _check_grafts(plan.grafts)
            return plan, read_npz(bundle.read(ARRAYS))
        except BundleError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise BundleError(f"the plan of {bundle.manifest.name} is damaged ({error})", again) from error


@dataclass(frozen=True)
class SolvedLayer:
    """How one layer went.

    Attributes:
        layer: Its output tensor in the original network.
        strength: Strength of the ridge, relative to the variance of the inputs.
        relative_error: Squared error over the variance of what it shall give.
        rows: Rows summed over.
    """

    layer: str
    strength: float
    relative_error: float
    rows: int


@dataclass(frozen=True)
class SolvedGraft:
    """One graft as a device solved it.

    Attributes:
        target: Task that is grafted.
        donor: Task on whose trunk it is grafted.
        donor_point: Tensor of the donor that is shared.
        target_point: Tensor of the target in whose place it comes.
        method: Method as planned.
        relation: Relation as planned.
        layers: How each layer went, in order.
        frames: Frames that every sum is over.
        cka: Unbiased CKA as planned.
        agreement: Agreement of the grafted float32 network with the original, on later frames; None where there were
            too few.
        kept: Of a thinned network, as planned.
    """

    target: str
    donor: str
    donor_point: str
    target_point: str
    method: str
    relation: str
    layers: tuple[SolvedLayer, ...]
    frames: int
    cka: float | None = None
    agreement: dict[str, Any] | None = None
    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Refit:
    """A refit file.

    Attributes:
        grafts: What was solved.
        sources: Network to the SHA-256 of its file.
        minimum_frames: Every weight was solved from sums over at least so many frames.
        weights: ``LAYER/1`` (weights) and ``LAYER/2`` (intercepts), float32, as the ONNX node holds them.
    """

    grafts: tuple[SolvedGraft, ...]
    sources: dict[str, str]
    minimum_frames: int
    weights: Arrays

    @property
    def thins(self) -> bool:
        """Whether a network in it has fewer channels."""
        return any(graft.method == THINNED for graft in self.grafts)

    def write(self, path: Path) -> Path:
        """Write it, whole or not at all; equal content gives equal bytes."""
        facts = {
            "schema": SCHEMA,
            "content": "Weights of layers, solved from sums over at least minimum_frames frames. No frame is in it.",
            "grafts": [dataclasses.asdict(g) for g in self.grafts],
            "sources": self.sources,
            "minimum_frames": self.minimum_frames,
        }
        text = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
        files.write_bytes(path, npz_bytes({_MANIFEST: text, **self.weights}))
        return path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read it.

        Raises:
            InputError: It is not there or no such file.
        """
        again = "give a .mgrefit file that multigraft calibrate refit wrote"
        try:
            arrays = read_npz(read_file(path, _LARGEST_FILE))
            facts = parse_json(arrays.pop(_MANIFEST).tobytes())
            if facts["schema"] != SCHEMA:
                raise InputError(f"{path} has schema {facts['schema']}", "use the version that wrote it")
            grafts: tuple[SolvedGraft, ...] = decode(tuple[SolvedGraft, ...], facts["grafts"], "grafts")
            _check_grafts(grafts)
            for key, weights in arrays.items():
                if weights.dtype != np.float32 or not np.isfinite(weights).all():
                    raise ValueError(f"{key} is no array of float32 numbers")
            return cls(grafts, decode(dict[str, str], facts["sources"], "sources"), facts["minimum_frames"], arrays)
        except InputError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{path} is no whole refit file ({error})", again) from error


def _check_grafts(grafts: Sequence[PlannedGraft | SolvedGraft]) -> None:
    """Refuse a graft on a network that is grafted or thinned itself, or on its target: a device has no branches."""
    changed = {graft.target for graft in grafts}
    for graft in grafts:
        if graft.method != THINNED and graft.donor in changed:
            raise ValueError(f"task {graft.target} stands on {graft.donor}, which does not stand there as it came")
