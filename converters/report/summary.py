"""``summary.json``: the result of a build or of the demo, as plain data with unit, sample count and validity.

The dataclasses below are the format: ``docs/summary.md`` is made from them by
``python -m multigraft.converters.report.summary_docs``, and :meth:`Summary.from_json` checks against them. Every field
but those marked required may be left out; a figure that was not measured is null, never 0.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any, Self

from multigraft import files
from multigraft.answers.kind import Kind
from multigraft.bundle.manifest import Relation
from multigraft.converters.settings.documented_fields import documented_field
from multigraft.errors import InputError
from multigraft.json_decoding import decode
from multigraft.reading import UnreadableError, read_json

SCHEMA = 1


@dataclass(frozen=True)
class AgreementResult:
    """How often the answer equals the original network's, on held-out unlabeled frames."""

    value: float = documented_field("Share of frames that agree, 0..1.")
    lower_bound: float = documented_field(
        "One-sided lower bound of it, 0..1: exact binomial (Clopper-Pearson), or by betting where frames agree in part."
    )
    confidence: float = documented_field("Confidence of the bound, 0..1.")
    frames: int = documented_field("Frames compared.")


@dataclass(frozen=True)
class AccuracyResult:
    """Share of labelled frames answered right, 0..1; only where labels were given."""

    original: float | None = documented_field("The network as it was given.", default=None)
    grafted: float | None = documented_field("On the shared trunk, float32.", default=None)
    int8: float | None = documented_field("As it stands in the bundle.", default=None)
    raw: float | None = documented_field("Trunk swapped without refit, for comparison.", default=None)
    frames: int | None = documented_field("Labelled frames.", default=None)


@dataclass(frozen=True)
class ThinnedLayerResult:
    """One layer that writes fewer channels than it did."""

    name: str = documented_field("Its tensor in the network.")
    channels: int = documented_field("Channels that it had.")
    kept: int = documented_field("Channels that are left.")
    relative_error: float = documented_field(
        "Squared error of what it gives, over the variance of what it gave; 0 where nothing changed for it."
    )


@dataclass(frozen=True)
class ThinningResult:
    """What is left of a network whose channels were thinned."""

    weights: int = documented_field("Parameters that are left.")
    original_weights: int = documented_field("Parameters that it came with.")
    macs: int = documented_field("Multiply-accumulates on one frame that are left.")
    original_macs: int = documented_field("Multiply-accumulates that it came with.")
    layers: tuple[ThinnedLayerResult, ...] = documented_field(
        "Layers with fewer channels, those of the tasks on its trunk included.", default=()
    )


@dataclass(frozen=True)
class TaskResult:
    """One task: what it shares, and what is left of it."""

    name: str = documented_field("Name of the task.")
    relation: Relation = documented_field("How its network relates to the trunk's.")
    kind: Kind = documented_field("What its outputs mean.", default="classification")
    donor: str | None = documented_field(
        "Task whose network gave the trunk; null for the donor itself or unshared.", default=None
    )
    share_point: str | None = documented_field(
        "Layer of the donor, or of ``branch``, up to which it shares; null if unshared.", default=None
    )
    branch: str | None = documented_field(
        "Task on whose own part, beyond the trunk, it goes on; null where it shares the trunk alone.", default=None
    )
    cka: float | None = documented_field("Unbiased linear CKA at the share point, -1..1.", default=None)
    accuracy: AccuracyResult | None = documented_field("Labelled accuracy.", default=None)
    agreement: AgreementResult | None = documented_field("Grafted against original, both float32.", default=None)
    int8_agreement: AgreementResult | None = documented_field("Bundle against original.", default=None)
    thinned: ThinningResult | None = documented_field(
        "What is left of its network, or of its own part on a trunk that keeps its channels; else null.", default=None
    )
    note: str = documented_field("Anything a reader has to know, for instance why it is unshared.", default="")
    min_agreement: float | None = documented_field(
        "Lower bound that it has to keep, 0..1, where it has one of its own; else null.", default=None
    )


@dataclass(frozen=True)
class Pair:
    """One figure for the networks apart and for the bundle."""

    separate: float | None = documented_field(
        "All original networks, converted the same way, one after the other.", default=None
    )
    bundle: float | None = documented_field("The bundle, all tasks.", default=None)
    samples: int | None = documented_field(
        "Runs or readings behind each figure (median); null where it is exact.", default=None
    )
    valid: bool = documented_field("False if something disturbed the measurement; then issue says what.", default=True)
    issue: str = documented_field("Why it is invalid or missing.", default="")


@dataclass(frozen=True)
class BitExactness:
    """Segments run in turn against the uncut model."""

    inputs: int = documented_field("Inputs compared.")
    mismatches: int = documented_field("Inputs with any differing byte; 0 is required of every bundle.")
    interpreters: tuple[str, ...] = documented_field("Interpreters on which it was checked.", default=())


@dataclass(frozen=True)
class SegmentResult:
    """One segment of the bundle: a box of the report's graph."""

    name: str = documented_field("Name of the segment.")
    inputs: tuple[str, ...] = documented_field(
        "Names of the segments it reads; empty if it reads the frame.", default=()
    )
    tasks: tuple[str, ...] = documented_field("Tasks that need it.", default=())
    weights_bytes: int = documented_field("Weights it holds, bytes.", default=0)
    macs: int = documented_field("Multiply-accumulates per frame.", default=0)
    latency_us: float | None = documented_field("Median time per frame, microseconds.", default=None)
    precision: str = documented_field("Precision of its arithmetic.", default="int8")


@dataclass(frozen=True)
class ParetoPoint:
    """One plan that was tried: who shares how deep."""

    plan: str = documented_field("The plan in words, for instance digit shares relu3.")
    weights_bytes: int = documented_field("Sum of all segments' weights, bytes; estimated from parameter counts.")
    macs: int = documented_field("Multiply-accumulates for all tasks on one frame.")
    agreement: dict[str, float] = documented_field(
        "Grafted task to agreement, 0..1; a task that keeps its own network is left out.", default_factory=dict
    )
    lower_bound: dict[str, float] = documented_field("Grafted task to its lower bound, 0..1.", default_factory=dict)
    chosen: bool = documented_field("Whether the bundle holds this plan.", default=False)
    meets_budget: bool = documented_field("Whether it keeps every budget.", default=True)
    latency_us: float | None = documented_field(
        "All tasks on one frame, float32, where it was built, the parts one by one, microseconds; null if not timed.",
        default=None,
    )


@dataclass(frozen=True)
class MissResult:
    """A key of the budget that the bundle does not keep."""

    key: str = documented_field("The key of [budget].")
    limit: float = documented_field("What was asked for.")
    figure: float | None = documented_field(
        "What was measured, in the unit of limit (an agreement's lower bound); null if it could not be measured.",
        default=None,
    )
    task: str | None = documented_field("Whose agreement it is.", default=None)
    samples: int | None = documented_field("Frames or runs behind the figure; null where it is exact.", default=None)
    issue: str = documented_field(
        "Why it could not be measured, or which of the task's outputs suffers most.", default=""
    )


@dataclass(frozen=True)
class BudgetResult:
    """The budgets that were asked for; null: none."""

    min_agreement: float | None = documented_field(
        "Lower bound of agreement that every task has to keep, 0..1.", default=None
    )
    confidence: float | None = documented_field("Confidence of that bound, 0..1.", default=None)
    max_weights_bytes: int | None = documented_field("Bytes.", default=None)
    max_macs: int | None = documented_field("Multiply-accumulates for all tasks on one frame.", default=None)
    max_latency_us: float | None = documented_field("Microseconds for all tasks on one frame.", default=None)
    prefer: str = documented_field("What was to be small where several plans keep the budget.", default="weights")
    missed: tuple[MissResult, ...] = documented_field("What the bundle does not keep of them.", default=())


@dataclass(frozen=True)
class SimilarityResult:
    """CKA between all cut points of two networks."""

    first: str = documented_field("Task of the rows.")
    second: str = documented_field("Task of the columns.")
    first_points: tuple[str, ...] = documented_field("Cut points of the rows.")
    second_points: tuple[str, ...] = documented_field("Cut points of the columns.")
    unbiased: tuple[tuple[float, ...], ...] = documented_field("Unbiased CKA, -1..1.")
    biased: tuple[tuple[float, ...], ...] | None = documented_field("Biased CKA, 0..1, for comparison.", default=None)
    frames: int | None = documented_field("Unlabeled frames.", default=None)
    heatmap: str | None = documented_field("Path of its picture, relative to summary.json.", default=None)


@dataclass(frozen=True)
class LayerErrorResult:
    """What quantisation costs at one layer."""

    tensor: str = documented_field("What it writes, which is its name in the network.")
    operator: str = documented_field("Operator.")
    own_sqnr_db: float = documented_field("Signal over quantisation noise if this operator alone is quantised, dB.")
    sqnr_db: float = documented_field("The same with everything before it quantised too, dB.")


@dataclass(frozen=True)
class MachineResult:
    """Where latency, memory and energy were measured."""

    name: str = documented_field("Board or processor.")
    architecture: str = documented_field("For instance x86_64 or aarch64.", default="")
    cores: int | None = documented_field("Processor cores.", default=None)
    system: str = documented_field("Operating system and kernel.", default="")
    interpreter: str = documented_field("Interpreter and its version.", default="")
    threads: int | None = documented_field("Threads the interpreter used.", default=None)


@dataclass(frozen=True)
class Summary:
    """All of summary.json."""

    tasks: tuple[TaskResult, ...] = documented_field("In the order of the settings.")
    weights_bytes: Pair = documented_field("Weights, bytes.")
    macs: Pair = documented_field("Multiply-accumulates for all tasks on one frame.")
    segments: BitExactness = documented_field("Segments in turn against the uncut model.")
    name: str = documented_field("Name of the bundle.", default="multigraft")
    bundle_bytes: int | None = documented_field("Size of the .graft file, bytes.", default=None)
    latency_us: Pair = documented_field("Time for all tasks on one frame, median, microseconds.", default_factory=Pair)
    pss_kib: Pair = documented_field(
        "Proportional set size (PSS) that the models add to a fresh process at the peak, KiB.", default_factory=Pair
    )
    energy: Pair | None = documented_field(
        "Energy for all tasks on one frame, joules; null if not measured.", default=None
    )
    energy_reason: str = documented_field("Why energy is null.", default="not measured")
    machine: MachineResult | None = documented_field("Where it was measured.", default=None)
    created: str = documented_field("When, ISO 8601, UTC.", default="")
    version: str = documented_field("Version of multigraft.", default="")
    budget: BudgetResult = documented_field("Budgets asked for.", default_factory=BudgetResult)
    notes: tuple[str, ...] = documented_field(
        "What a reader has to know first, for instance that no sharing met the budget.", default=()
    )
    warnings: tuple[str, ...] = documented_field(
        "What the build warned of: inputs, labels or frames that are not what the networks were made for.", default=()
    )
    not_compared: tuple[str, ...] = documented_field(
        "What could not be compared, measured or drawn, each with the reason; the bundle is whole all the same.",
        default=(),
    )
    graph: tuple[SegmentResult, ...] = documented_field(
        "Segments of the bundle, in an order in which they run.", default=()
    )
    pareto: tuple[ParetoPoint, ...] = documented_field("Plans tried.", default=())
    similarity: tuple[SimilarityResult, ...] = documented_field("One per pair of networks.", default=())
    layer_error: tuple[LayerErrorResult, ...] = documented_field("Per layer, in running order.", default=())
    provenance: dict[str, Any] = documented_field(
        "Digests of the sources, tool versions; as in the manifest.", default_factory=dict
    )
    schema: int = documented_field("Version of this format.", default=SCHEMA)

    @classmethod
    def from_json(cls, data: Any, where: str = "summary.json") -> Self:
        """Check parsed JSON.

        Raises:
            InputError: A required field is missing or a value is of the wrong type; the message names the place.
        """
        try:
            summary: Self = decode(cls, data, "summary")
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{where} is not a summary: {error.args[0]}", "see docs/summary.md") from error
        if not summary.tasks:
            raise InputError(f"{where} is not a summary: summary.tasks is empty", "see docs/summary.md")
        return summary

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data: lists, objects, numbers and texts."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        for count in (plain["weights_bytes"], plain["macs"]):
            count.update({key: round(count[key]) for key in ("separate", "bundle") if count[key] is not None})
        return plain

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read summary.json.

        Raises:
            InputError: It is not there or not such a file.
        """
        try:
            return cls.from_json(read_json(path), str(path))
        except UnreadableError as error:
            raise InputError(f"{path} is not a summary: {error}", "see docs/summary.md") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write summary.json, whole or not at all."""
        files.write_bytes(path, json.dumps(self.to_json(), indent=1, allow_nan=False).encode() + b"\n")
