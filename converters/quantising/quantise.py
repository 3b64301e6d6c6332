"""Quantises a float graph with litert-quantizer.

Quantisation is of the whole graph at once: every tensor, a cut among them, gets exactly one scale, and what is cut
later computes the same. Input and output tensors are stored as the operators beside them want them: integers without a
conversion, or float where such an operator was kept in float.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from multigraft.converters.conversion.interpreters import main_signature
from multigraft.converters.conversion.rewriting import free_name, prune, rename, replace_op
from multigraft.converters.quantising.fine_ranges import with_fine_ranges
from multigraft.converters.quantising.precisions import STATIC, Precision
from multigraft.converters.quantising.ranges import Range, Ranges, complete
from multigraft.converters.quantising.sound_ranges import sound_ranges
from multigraft.converters.quantising.sound_scales import with_sound_scales
from multigraft.errors import ConversionError, MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.tensors.arrays import Array
from multigraft.tflite import tflite_file
from multigraft.tflite.graph import Graph, Model, Op, Tensor

_WEIGHT_STEPS: dict[Precision, int] = {"int8": 127, "int4": 7}


_RESCALING = frozenset({"LEAKY_RELU"})

_OWN_SCALES = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
"""Operators whose constants have scales of their own."""


def quantise(
    graph: Graph,
    precision: Precision,
    ranges: Mapping[str, Range] | None = None,
    keep_float: Collection[str] = (),
    eight_bits: Collection[str] = (),
    float_values: Collection[str] = (),
) -> Graph:
    """``graph`` in the given precision, under the same tensor names.

    Args:
        graph: Float32.
        precision: A key of :data:`PRECISIONS`.
        ranges: Smallest and largest value by tensor; needed for :data:`STATIC`. What operators like reshape pass on
            follows by itself.
        keep_float: Operators to leave alone, by the name of a tensor they write.
        eight_bits: Operators whose weights have 8 bits where ``precision`` gives them 4, named likewise.
        float_values: Operators that read and write float values, named likewise; weights of full convolutions and fully
            connected layers have 8 bits there, and what they read is quantised while running.

    Raises:
        ConversionError: A range is missing or not finite, a scale is out of all bounds, or litert-quantizer fails.
        MissingDependencyError: litert-quantizer is not installed.
    """
    if precision == "float32":
        return graph
    try:
        from litert_quantizer import quantizer
    except Exception as error:
        raise MissingDependencyError(
            f"quantising needs litert-quantizer, which is {how_missing(error)}", repair(error, install_extra("convert"))
        ) from error
    statistics, full = None, Ranges()
    if precision in STATIC:
        graph, full = with_finite_pads(graph, complete(graph, ranges or {}))
        graph = with_near_bounds(graph, full)
        full = sound_ranges(graph, full, _WEIGHT_STEPS[precision])
        statistics = {
            name: {"min": _of_rank(graph, name, low), "max": _of_rank(graph, name, high)}
            for name, (low, high) in full.items()
        }
    # An output that is also read within the graph would get a DEQUANTIZE that its reader then reads from.
    ends = dataclasses.replace(graph, outputs=tuple(n for n in graph.outputs if not graph.consumers(n)))
    source = tflite_file.write(Model((ends,), (main_signature(ends),)))
    try:
        # It draws a progress bar on standard error for networks of some size, whatever it is asked.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            worker = quantizer.Quantizer(source, _recipe(graph, precision, keep_float, eight_bits, float_values))
            result = worker.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ConversionError(
            f"litert-quantizer failed ({' '.join(str(error).split())[:200]})", "keep the layers it names in float"
        ) from error
    quantised = close_islands(tflite_file.read(bytes(result.quantized_model)).main, {*keep_float, *float_values})
    named = _under_their_names(bare_ends(quantised), ends)
    whole = dataclasses.replace(named, outputs=graph.outputs)
    if precision not in STATIC:
        return whole
    fine, finer = with_fine_ranges(whole, full)
    return with_sound_scales(fine, graph, finer)


def _of_rank(graph: Graph, name: str, value: float) -> Array:
    """``value`` with as many axes as a constant has that takes this result's scale, for the quantizer scales it so.

    Results of rank 4 may come of constants of another rank: what PADV2 pads with, one side of MAXIMUM.
    """
    producer = graph.producer(name)
    rank = len(graph.tensors[name].shape)
    if producer is not None and producer.name not in _OWN_SCALES:
        constants = (v for i in producer.inputs if (v := graph.constant(i)) is not None)
        ranks = [v.ndim for v in constants if v.dtype == np.float32]
        rank = ranks[0] if ranks else rank
    return np.full((1,) * rank, value, np.float32)


def with_finite_pads(graph: Graph, ranges: Mapping[str, Range]) -> tuple[Graph, dict[str, Range]]:
    """Let pads before maximum pooling hold the lowest value of what they pad: minus infinity has no scale."""
    changed, full = graph, dict(ranges)
    for op in graph.ops:
        value = graph.constant(op.inputs[2]) if op.name == "PADV2" else None
        readers = graph.consumers(op.outputs[0])
        if value is None or op.outputs[0] in graph.outputs or any(r.name != "MAX_POOL_2D" for r in readers):
            continue
        low, high = full[op.inputs[0]]
        if float(value.reshape(-1)[0]) < low:
            changed = _reading(changed, op, 2, np.full_like(value, low))
            full[op.outputs[0]] = low, high
    return changed, full


def with_near_bounds(graph: Graph, ranges: Mapping[str, Range]) -> Graph:
    """Let bounds that no value reaches (-1e30, minus infinity) lie where the values end: they share one scale."""
    changed = graph
    for op in graph.ops:
        if op.name not in ("MAXIMUM", "MINIMUM"):
            continue
        for place, name in enumerate(op.inputs):
            value, bounds = graph.constant(name), ranges.get(op.inputs[1 - place])
            if value is None or bounds is None or value.dtype != np.float32:
                continue
            end = bounds[0 if op.name == "MAXIMUM" else 1]
            near = np.maximum(value, end) if op.name == "MAXIMUM" else np.minimum(value, end)
            if not np.array_equal(near, value):
                changed = _reading(changed, op, place, near.astype(np.float32))
    return changed


def _reading(graph: Graph, op: Op, place: int, value: Array) -> Graph:
    """With another constant as one input of an operator."""
    name = free_name(graph, f"{op.outputs[0]}/constant")
    inputs = (*op.inputs[:place], name, *op.inputs[place + 1 :])
    new = dataclasses.replace(op, inputs=inputs)
    return prune(replace_op(graph, op, [new], [Tensor(name, value.shape, data=value)]))


def _recipe(
    graph: Graph,
    precision: Precision,
    keep_float: Collection[str],
    eight_bits: Collection[str],
    float_values: Collection[str],
) -> list[dict[str, Any]]:
    """litert-quantizer's recipe: of entries that match an operator, the last counts."""
    from litert_quantizer import qtyping, recipe_manager

    names, operations = ".*", qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    if precision == "dynamic":
        manager.add_dynamic_config(names, operations.ALL_SUPPORTED, num_bits=8)
        _with_one_scale(manager, names)
        # tflite-runtime 2.14 has no transposed convolution of float activations with 8-bit weights.
        _leave(manager, names, operations.CONV_2D_TRANSPOSE)
    else:
        manager.add_static_config(names, operations.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
        if precision == "int4":
            # Not fully connected layers: tflite-runtime 2.14 has none with 4-bit weights.
            manager.add_static_config(names, operations.CONV_2D, activation_num_bits=8, weight_num_bits=4)
            first = [name for op in graph.ops if set(op.inputs) & set(graph.inputs) for name in op.outputs]
            finer = _written({*first, *eight_bits})
            manager.add_static_config(finer, operations.CONV_2D, activation_num_bits=8, weight_num_bits=8)
        for end in (operations.INPUT, operations.OUTPUT):
            _leave(manager, names, end)
    if float_values:
        those = _written(float_values)
        _leave(manager, those, operations.ALL_SUPPORTED)
        # XNNPACK has no depthwise convolution of float values with 8-bit weights.
        manager.add_dynamic_config(those, operations.CONV_2D, num_bits=8)
        _with_one_scale(manager, those)
    # A divisor that rounds to zero ends the interpreter, and one near zero has few digits left.
    divisions = (op for op in graph.ops if op.name == "DIV" and graph.constant(op.inputs[1]) is None)
    divided = [name for op in divisions for name in op.outputs]
    # tflite-runtime 2.14 has no square root of integers and refuses the whole model.
    roots = [name for op in graph.ops if op.name == "SQRT" for name in op.outputs]
    endless = [name for op in graph.ops if _has_no_scale(graph, op) for name in op.outputs]
    if kept := {*keep_float, *divided, *roots, *endless}:
        _leave(manager, _written(kept), operations.ALL_SUPPORTED)
    recipe: list[dict[str, Any]] = manager.get_quantization_recipe()
    return recipe


def _has_no_scale(graph: Graph, op: Op) -> bool:
    """Whether it reads a constant that holds an infinite value."""
    constants = (value for name in op.inputs if (value := graph.constant(name)) is not None)
    return any(value.dtype == np.float32 and not np.isfinite(value).all() for value in constants)


def _written(tensors: Collection[str]) -> str:
    """Matches operators that write one of ``tensors``: the quantizer searches in "tensor;tensor;"."""
    return f"(^|;)({'|'.join(map(re.escape, sorted(tensors)))});"


def _with_one_scale(manager: Any, names: str) -> None:
    """8-bit weights of fully connected layers on float values: tflite-runtime 2.14 takes the first channel's scale for
    all channels, without a word."""
    from litert_quantizer import qtyping

    kind, granularity = qtyping.TFLOperationName.FULLY_CONNECTED, qtyping.QuantGranularity.TENSORWISE
    manager.add_dynamic_config(names, kind, num_bits=8, granularity=granularity)


def _leave(manager: Any, names: str, operation: Any) -> None:
    from litert_quantizer.algorithm_manager import AlgorithmName

    manager.add_quantization_config(names, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _under_their_names(quantised: Graph, graph: Graph) -> Graph:
    """With inputs and outputs named as in ``graph``, in the same order."""
    wanted = dict(zip((*quantised.inputs, *quantised.outputs), (*graph.inputs, *graph.outputs), strict=True))
    changed = {old: new for old, new in wanted.items() if old != new}
    taken = {n: free_name(quantised, f"{n}/stored") for n in changed.values() if n in quantised.tensors}
    return rename(quantised, taken | changed)


def close_islands(graph: Graph, keep_float: Collection[str] = ()) -> Graph:
    """With operators on integers that litert-quantizer leaves in float though TFLite has them for int8.

    Such an operator stands between a DEQUANTIZE and a QUANTIZE; its kernel takes any two scales.
    """
    names = [op.outputs[0] for op in graph.ops if op.name in _RESCALING and op.outputs[0] not in keep_float]
    for name in names:
        graph = _closed(graph, name)
    return graph


def _closed(graph: Graph, name: str) -> Graph:
    """With the operator that writes ``name`` on integers, where it stands so."""
    op = graph.producer(name)
    before, readers = None if op is None else graph.producer(op.inputs[0]), graph.consumers(name)
    stored = {r.outputs[0] for r in readers if r.name == "QUANTIZE"}
    if op is None or before is None or before.name != "DEQUANTIZE" or len(stored) != 1 or name in graph.outputs:
        return graph
    if any(r.name != "QUANTIZE" for r in readers):
        return graph
    result = stored.pop()
    closed = dataclasses.replace(op, inputs=before.inputs, outputs=(result,))
    rest = tuple(o for o in graph.ops if o not in readers)
    pruned = prune(replace_op(dataclasses.replace(graph, ops=rest), op, [closed]))
    return rename(pruned, {result: name})


def bare_ends(graph: Graph) -> Graph:
    """Without the QUANTIZE that reads an input and the DEQUANTIZE that writes an output."""
    for name in graph.inputs:
        readers = graph.consumers(name)
        if len({op.outputs[0] for op in readers}) == 1 and all(op.name == "QUANTIZE" for op in readers):
            graph = _end_at(graph, name, readers[0].outputs[0], {id(op) for op in readers})
    for name in graph.outputs:
        writer = graph.producer(name)
        if writer is None or writer.name != "DEQUANTIZE" or graph.consumers(name):
            continue
        source = writer.inputs[0]
        if source not in graph.inputs and source not in graph.outputs:
            graph = _end_at(graph, name, source, {id(writer)})
    return graph


def _end_at(graph: Graph, end: str, stored: str, dropped: set[int]) -> Graph:
    """Let ``stored`` be the input or output instead of ``end``, without the operators between."""
    return prune(
        dataclasses.replace(
            graph,
            ops=tuple(op for op in graph.ops if id(op) not in dropped),
            inputs=tuple(stored if n == end else n for n in graph.inputs),
            outputs=tuple(stored if n == end else n for n in graph.outputs),
        )
    )
