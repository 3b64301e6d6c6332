"""From a quantised graph to a bundle: cut, verified, measured, packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from multigraft.agreement.agreement import Agreement
from multigraft.bundle.bundle import Bundle
from multigraft.converters.binary.signs import Signs
from multigraft.converters.conversion.boundary_tensors import (
    FloatModel,
    to_tflite_layout,
)
from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.job.progress import Report
from multigraft.converters.low_bit.outcome import Outcome
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.bundling import BundleParts, pack
from multigraft.converters.packing.feeds import Feeds
from multigraft.converters.packing.kernel_spread import in_words
from multigraft.converters.packing.quantised_agreement import QuantisedAgreement
from multigraft.converters.packing.segments import cut_into_segments
from multigraft.converters.packing.verify import Verification, affordable, random_inputs, verify_segments
from multigraft.converters.quantising.improve import Quantised
from multigraft.converters.quantising.layer_error import LayerErrorReport, layer_error, stored
from multigraft.converters.quantising.precisions import AROUND_BINARY, Precision
from multigraft.converters.quantising.rescue import Rescue
from multigraft.converters.quantising.safeguards import Safeguards, Safety
from multigraft.converters.quantising.silu_ranges import read_by_silus
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model

CALIBRATION_FRAMES = 512
LAYER_ERROR_FRAMES = 8
VERIFIED_RANDOM_INPUTS = 200
VERIFIED_FRAMES = 16
"""How many frames, evenly spaced over those given, each step looks at."""


@dataclass(frozen=True)
class Prepared:
    """What does not change when layers get more bits.

    Attributes:
        floating: The float model, as converted.
        float_errors: Its error against ONNX by task output.
        float_inputs: Over how many frames.
        kept: Operators to leave in float, by a tensor they write.
        quantised: The same quantised, with whatever helps.
        parted: Which outputs were parted and why, for people.
        signs: What was found of binary layers in the ONNX model; None unless they are asked for.
    """

    floating: FloatModel
    float_errors: dict[str, float]
    float_inputs: int
    kept: frozenset[str]
    quantised: Quantised
    parted: tuple[str, ...] = ()
    signs: Signs | None = None


@dataclass(frozen=True)
class Conversion:
    """A bundle and what was learnt while making it.

    Attributes:
        bundle: Ready to write.
        uncut_model: The whole quantised model as one subgraph, for comparison (.tflite).
        float_model: The same in float32 (.tflite).
        layer_error: Quantisation error per operator; empty for float32 or without frames.
        verification: What was compared and the figures.
        agreement: Task to how often the quantised answers as the float model; empty without frames.
        safety: What was done for precision beyond rounding, and which layers are noisy.
        prepared: Spares a second conversion with other safeguards much of its work; None where nothing was converted.
        finishing: Makes the same of another quantised graph; None where nothing was converted.
        fallback: Of the same tasks, for interpreters that refuse ``bundle``; None where all take it.
        low_bit: Which layers have weights of few bits, or of 1; None where none was asked to.
        binary: What became of binary layers, for people.
    """

    bundle: Bundle
    uncut_model: bytes
    float_model: bytes
    layer_error: LayerErrorReport
    verification: Verification
    agreement: Mapping[str, Agreement]
    safety: Safety
    prepared: Prepared | None = None
    finishing: Finishing | None = None
    fallback: Bundle | None = None
    low_bit: Outcome | None = None
    binary: tuple[str, ...] = ()

    @property
    def whole_bundle(self) -> Bundle:
        """The bundle with its fallback, if there is one."""
        return self.bundle if self.fallback is None else self.bundle.with_fallback(self.fallback)

    def sentences(self) -> list[str]:
        """What was done and found beyond rounding, for people; empty if there is nothing to say."""
        few = self.low_bit.sentences() if self.low_bit else []
        parted = self.prepared.parted if self.prepared else ()
        other = []
        if self.fallback is not None:
            size = f"{len(self.fallback.model):,} bytes"
            other = [f"A fallback of {size} comes along, for where this model cannot run; --no-fallback leaves it out."]
        spread = in_words(self.bundle.manifest)
        return [*parted, *self.binary, *self.safety.sentences(), *few, *spread, *other]


@dataclass(frozen=True)
class Finishing:
    """All that is needed besides the graph.

    Attributes:
        multitask: Tasks, inputs and segments; outputs that were parted are.
        feeds: Frames.
        precision: As asked for.
        name: The bundle's name.
        converter: Version of onnx2tf.
        safeguards: What was asked of layers.
        verified_inputs: Random inputs on which segments and uncut model are compared.
        prepared: The float model and its error.
        quantised: What was done for precision beyond rounding.
        rescued: What got more bits; None where nothing had to.
        agreements: Measures agreement.
        report: Takes a line for each step.
    """

    multitask: MultiTaskModel
    feeds: Feeds
    precision: Precision
    name: str
    converter: str
    safeguards: Safeguards
    verified_inputs: int
    prepared: Prepared
    quantised: Quantised
    rescued: Rescue | None
    agreements: QuantisedAgreement
    report: Report

    def cut(self, graph: Graph) -> tuple[Model, list[SegmentSpec]]:
        """``graph`` as segments."""
        return cut_into_segments(graph, self.multitask.segments, self.prepared.floating.boundaries)

    def __call__(
        self, graph: Graph, low_bit: Outcome | None = None, layers: LayerErrorReport | None = None
    ) -> Conversion:
        """Cut, verify, measure and pack.

        Args:
            graph: Quantised, with the tensors that the segments begin and end with.
            low_bit: Which of its layers have weights of few bits, or of 1.
            layers: Their errors, where they were measured and told before.

        Raises:
            ConversionError: Segments and uncut model differ, or an interpreter does not run them.
        """
        feeds, prepared, report = self.feeds, self.prepared, self.report
        floating = prepared.floating
        ends = self.multitask.ends
        model, segments = self.cut(graph)
        content = tflite_file.write(model)
        samples = [stored(to_tflite_layout(f, floating.layouts), graph) for f in feeds.spaced(VERIFIED_FRAMES)]
        inputs = affordable(graph, [*samples, *random_inputs(graph, self.verified_inputs)])
        report(f"comparing segments and uncut model on {len(inputs)} inputs")
        verification = verify_segments(graph, content, segments, floating.boundaries, ends, inputs)
        verification = dataclasses.replace(
            verification, float_error=prepared.float_errors, float_inputs=prepared.float_inputs
        )
        is_new = layers is None
        layers = self._layer_error(graph) if layers is None else layers
        few = [layer.tensor for layer in low_bit.layers] if low_bit else []
        noisy = layers.without(few).below(self.safeguards.min_layer_sqnr_db)
        safety = Safety(self.quantised.improvement, self.rescued, noisy, self.safeguards)
        for sentence in safety.sentences() if is_new else ():
            report(sentence)
        report("measuring how often the quantised model answers as the float model")
        measured = self.agreements(graph)
        parts = BundleParts(
            name=self.name,
            precision=self.precision,
            multitask=self.multitask,
            graph=graph,
            model=model,
            content=content,
            segments=tuple(segments),
            boundaries=floating.boundaries,
            layouts=floating.layouts,
            golden=(*samples[:2], *random_inputs(graph, 2, seed=1), *samples[2 : len(samples) // 2 + 1]),
            layers=layers,
            verification=verification,
            agreements=measured,
            calibration_frames=len(feeds.chosen(CALIBRATION_FRAMES)),
            converter=self.converter,
            safety=safety.to_json() | ({"low_bit": low_bit.to_json()} if low_bit else {}),
        )
        outputs = {n: floating.boundaries[n] for n in self.multitask.answers}
        return Conversion(
            bundle=pack(parts),
            uncut_model=_whole(graph, outputs),
            float_model=_whole(floating.graph, outputs),
            layer_error=layers,
            verification=verification,
            agreement=measured,
            safety=safety,
            prepared=prepared,
            finishing=self,
            low_bit=low_bit,
        )

    def _layer_error(self, graph: Graph) -> LayerErrorReport:
        if AROUND_BINARY.get(self.precision, self.precision) == "float32":
            return LayerErrorReport((), 0)
        self.report("measuring the error of each layer")
        floating = self.prepared.floating
        sampled = [to_tflite_layout(f, floating.layouts) for f in self.feeds.spaced(LAYER_ERROR_FRAMES)]
        # Bits are no values that could be compared with the float model's.
        judged = self.quantised.graph if self.precision in AROUND_BINARY else graph
        layers = layer_error(floating.graph, judged, sampled)
        if self.rescued is not None and self.rescued.has_whole_ranges:
            # What a SiLU makes nothing of is cut off there, which is no noise.
            layers = layers.without(read_by_silus(floating.graph))
        return layers


def _whole(graph: Graph, outputs: Mapping[str, str]) -> bytes:
    return tflite_file.write(Model((graph,), (dataclasses.replace(main_signature(graph), outputs=outputs),)))
