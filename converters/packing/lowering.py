"""A converted network again with weights of few bits or 1, and the int8 one as its fallback.

tflite-runtime 2.14 has no kernels for weights of few bits, and those of 1 bit need a delegate. So a bundle with them
carries the int8 model of the same segments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multigraft.agreement.agreement import Agreement
from multigraft.converters.conversion.boundary_tensors import to_tflite_layout
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.low_bit.fit import Fitting, Solved
from multigraft.converters.low_bit.layer import Bits, Layer, layers_of, with_few_bits
from multigraft.converters.low_bit.memory import COPIES, memory_bytes
from multigraft.converters.low_bit.outcome import Outcome
from multigraft.converters.low_bit.report import LowBits, LowLayer
from multigraft.converters.low_bit.rounding import Rounded
from multigraft.converters.low_bit.search import Judge, Trials, search
from multigraft.converters.one_bit.choosing import with_one_bit
from multigraft.converters.packing.finishing import Conversion, Finishing
from multigraft.converters.quantising.sound_scales import LEAST_SCALE
from multigraft.converters.settings.convert_settings import Weights
from multigraft.errors import UsageError
from multigraft.runtime.backends import load_backend
from multigraft.runtime.delegate.choosing import delegates_for
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph
from multigraft.tflite.operators import BINARY

FITTING_FRAMES = 256
FRAMES_BYTES = 1 << 28
HELD_OUT_EVERY = 4
"""Where nobody names frames that judge, every fourth does and fits nothing."""

ModelJudge = Callable[[bytes], Mapping[str, Agreement]]
"""Task to the agreement of a .tflite file, cut into the segments of the bundle, with the original network."""

ONE_BIT = frozenset({"1bit", "auto-1bit"})
"""Weights, and values with them, of 1 bit, which the delegate for binary operators runs."""
CHOOSING = frozenset({"auto", "auto-1bit"})
"""What leaves the choice of layers to a search."""
FIXED: Mapping[Weights, Bits] = {"4bit": 4, "2bit": 2}


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        weights: How many bits; ``auto`` and ``auto-1bit`` leave the choice to a search.
        least: Task to the lower bound of agreement that these have to keep.
        judge: Measures agreement for that, on frames that fit nothing; None takes a part of the frames.
    """

    weights: Weights
    least: Mapping[str, float]
    judge: ModelJudge | None = None


def check_precision(weights: Weights, precision: str) -> None:
    """Refuse few bits beside anything but int8.

    Raises:
        UsageError: They contradict each other.
    """
    if weights != "8bit" and precision != "int8":
        raise UsageError(f"weights of {weights} contradict precision {precision}", "ask for int8, or for 8bit weights")
    check_kernels(weights)


def check_kernels(weights: Weights) -> None:
    """Refuse weights that nothing here runs, before minutes of work.

    Raises:
        MissingDependencyError: The delegate for binary operators is not there, or does not work with this interpreter.
    """
    if weights in ONE_BIT:
        delegates_for(BINARY, load_backend("litert"), f"a network with weights of {weights}")


def lowered(conversion: Conversion, asked: Asked, report: Report = silent) -> Conversion:
    """``conversion`` with few bits in the weights of some layers, and itself as the fallback.

    Args:
        conversion: int8.
        asked: What for.
        report: Takes a line for each step.

    Returns:
        ``conversion`` as it is where 8 bits are asked for, and but for :attr:`Conversion.low_bit` where int8 is the
        better answer.

    Raises:
        UsageError: There are no frames to fit on.
    """
    finishing = conversion.finishing
    if finishing is None or asked.weights == "8bit":
        return conversion
    int8, every = finishing.quantised.graph, _frames(finishing)
    if not every:
        raise UsageError("weights of few bits need frames", "give unlabeled frames with --source")
    is_own = asked.weights in CHOOSING and asked.judge is None and len(every) >= 2 * HELD_OUT_EVERY
    judging = every[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] if is_own else every
    fits = [feed for i, feed in enumerate(every) if not is_own or (i + 1) % HELD_OUT_EVERY]
    fitting = fitting_of(finishing, fits, has_windows_free=asked.weights in ONE_BIT)
    judge = _graph_judge(finishing, asked, judging)
    if asked.weights in ONE_BIT:
        graph, bits = with_one_bit(fitting, asked.weights, judge, asked.least, report)
        return _finished(conversion, finishing, graph, bits, report)
    trials: Trials = {}
    if asked.weights == "auto":
        found = search(fitting, judge, asked.least, report)
        solved, choice, trials = found.solved, found.choice, found.trials
    else:
        choice = {layer.name: FIXED[asked.weights] for layer in fitting.layers}
        solved = fitting.solved(choice, report)
    told = _told(fitting, solved, choice, trials, asked)
    if asked.weights == "auto":
        minimum = min(asked.least.values(), default=None)
        told = dataclasses.replace(told, before=judge(int8), after=judge(solved.graph), minimum=minimum)
    return _finished(conversion, finishing, solved.graph, told, report)


def _finished(conversion: Conversion, finishing: Finishing, graph: Graph, told: Outcome, report: Report) -> Conversion:
    """A bundle of ``graph`` with int8 as its fallback; int8 alone where nothing came of it and the choice is free."""
    for sentence in told.sentences():
        report(sentence)
    if not told.layers or (told.asked in CHOOSING and told.is_int8_better):
        return dataclasses.replace(conversion, low_bit=told.declined())
    return dataclasses.replace(finishing(graph, told), fallback=conversion.bundle)


def fitting_of(
    finishing: Finishing, frames: Sequence[Arrays] | None = None, *, has_windows_free: bool = False
) -> Fitting:
    """What solves the layers of an int8 conversion.

    Args:
        finishing: Of that conversion.
        frames: As the ONNX model takes them; None for those of ``finishing``.
        has_windows_free: Take convolutions of all sizes, for kernels that need no windows side by side.
    """
    floating, int8 = finishing.prepared.floating, finishing.quantised.graph
    chosen = _frames(finishing) if frames is None else frames
    feeds = [to_tflite_layout(feed, floating.layouts) for feed in chosen]
    layers = layers_of(int8, floating.graph)
    return Fitting(floating.graph, int8, layers if has_windows_free else _worth_it(int8, layers), feeds)


def _worth_it(int8: Graph, layers: list[Layer]) -> list[Layer]:
    """Without those whose windows, laid side by side, take more memory than their weights give."""
    return [layer for layer in layers if not layer.has_windows or _saves(int8, layer)]


def _saves(int8: Graph, layer: Layer) -> bool:
    """Whether 2-bit weights save more than windows take, which live while the layer runs, and what lays them out."""
    outputs, inputs = layer.shape(int8)
    nothing = Rounded(np.zeros((outputs, inputs), np.int8), np.full(outputs, LEAST_SCALE), np.zeros(outputs))
    few = with_few_bits(int8, layer, nothing, np.zeros(outputs), 2)
    return COPIES * (int8.weights_bytes() - few.weights_bytes()) > layer.positions(int8) * inputs


def _frames(finishing: Finishing) -> list[Arrays]:
    """At most :data:`FITTING_FRAMES`, as the ONNX model takes them, and fewer where they are large."""
    first = next(finishing.feeds.spaced(1), None)
    if first is None:
        return []
    size = sum(value.nbytes for value in first.values())
    return list(finishing.feeds.spaced(min(FITTING_FRAMES, max(1, FRAMES_BYTES // size))))


def _graph_judge(finishing: Finishing, asked: Asked, frames: Sequence[Arrays]) -> Judge:
    if asked.judge is None:
        return finishing.agreements.on(lambda: frames)
    of_model = asked.judge
    return lambda graph: of_model(tflite_file.write(finishing.cut(graph)[0]))


def _told(fitting: Fitting, solved: Solved, choice: Mapping[str, Bits], trials: Trials, asked: Asked) -> LowBits:
    layers = []
    for layer in fitting.layers:
        bits = choice.get(layer.name)
        if bits is None or layer.name in solved.refused:
            continue
        trial = trials.get((layer.name, bits))
        outputs, inputs = layer.shape(fitting.int8)
        layers.append(
            LowLayer(
                layer.name,
                layer.linear.op.name,
                bits,
                outputs * inputs,
                -(-outputs * inputs * bits // 8),
                solved.errors[layer.name],
                trial.noise_db if trial else None,
                trial.latency_us if trial else None,
            )
        )
    memory = memory_bytes(fitting.int8), memory_bytes(solved.graph)
    return LowBits(asked.weights, tuple(layers), len(fitting.layers), *memory, refused=solved.refused)
