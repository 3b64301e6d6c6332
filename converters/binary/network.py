"""The binary layers of a converted network: which stay float while the rest is quantised, and what they become."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from multigraft.converters.binary.chains import fold_chains
from multigraft.converters.binary.factors import channel_constant, fold_factors, is_batch_norm
from multigraft.converters.binary.integer_ends import join_integers
from multigraft.converters.binary.layers import find_layers, with_layers
from multigraft.converters.binary.signed import sign_source
from multigraft.converters.binary.signs import Signs
from multigraft.converters.conversion.rewriting import only_reader
from multigraft.tflite.graph import Graph, Op

_BESIDE_SIGNS_NAMES = (
    "MUL ADD SUB DIV NEG RELU RELU6 RELU_N1_TO_1 LEAKY_RELU PRELU MAXIMUM MINIMUM MAX_POOL_2D RESHAPE TRANSPOSE "
    "PAD PADV2 STRIDED_SLICE SQUEEZE EXPAND_DIMS TANH"
)
_BESIDE_SIGNS = frozenset(_BESIDE_SIGNS_NAMES.split())

_ARITHMETIC = frozenset({"MUL", "ADD", "SUB", "DIV"})


def layers_to_keep(graph: Graph) -> frozenset[str]:
    """What operators write that stay float while the rest is quantised: the layers, and what decides their signs.

    Args:
        graph: Float32, as converted.
    """
    found = find_layers(graph)
    kept = {name for layer in found.layers for name in _folded_behind(graph, layer)}
    waiting = [layer.op.inputs[0] for layer in found.layers.values()]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        op = graph.producer(name)
        if op is None or name in seen:
            continue
        seen.add(name)
        if op.name in _BESIDE_SIGNS or op.name in ("SIGN", "CONCATENATION") or is_batch_norm(graph, op):
            if not _stays(graph, op):
                continue
            kept.add(name)
            waiting += [n for n in op.inputs if graph.constant(n) is None]
    return frozenset(kept)


def _folded_behind(graph: Graph, tensor: str) -> list[str]:
    """``tensor``, which a layer writes, and what factors and summands make of it that become part of the layer."""
    names = [tensor]
    while (reader := only_reader(graph, names[-1])) is not None:
        channels = graph.tensors[names[-1]].shape[-1]
        held = [n for n in reader.inputs if n != names[-1]]
        is_folded = reader.name in _ARITHMETIC and all(channel_constant(graph, n, channels) is not None for n in held)
        if not is_folded and not is_batch_norm(graph, reader):
            break
        names.append(reader.outputs[0])
    return names


def _stays(graph: Graph, op: Op) -> bool:
    """Whether it works for signs alone: a sum that goes on elsewhere is an ordinary one."""
    if op.name == "SIGN" or sign_source(graph, op.outputs[0]) is not None:
        return True
    if is_batch_norm(graph, op):
        return len(graph.consumers(op.outputs[0])) == 1 and op.outputs[0] not in graph.outputs
    computed = [n for n in op.inputs if graph.constant(n) is None]
    channels = graph.tensors[op.outputs[0]].shape[-1] if graph.tensors[op.outputs[0]].shape else 1
    held = [n for n in op.inputs if n not in computed]
    is_plain = op.name in ("RESHAPE", "TRANSPOSE", "PAD", "PADV2", "STRIDED_SLICE", "SQUEEZE", "EXPAND_DIMS")
    is_alone = len(graph.consumers(op.outputs[0])) == 1 and op.outputs[0] not in graph.outputs
    return (
        is_alone
        and len(computed) == 1
        and (is_plain or all(channel_constant(graph, n, channels) is not None for n in held))
    )


def with_binary_layers(graph: Graph, boundaries: Iterable[str]) -> Graph:
    """``graph`` with its binary layers as operators of Larq Compute Engine's set.

    Args:
        graph: Float, or quantised with :func:`layers_to_keep` left in float.
        boundaries: Tensors that keep name and value, beside inputs and outputs.
    """
    outputs = graph.outputs
    open_graph = dataclasses.replace(graph, outputs=tuple(dict.fromkeys((*outputs, *_computed(graph, boundaries)))))
    changed = with_layers(open_graph, find_layers(open_graph).layers)
    changed = join_integers(fold_factors(fold_chains(changed)))
    return dataclasses.replace(changed, outputs=outputs)


def _computed(graph: Graph, names: Iterable[str]) -> Iterable[str]:
    return (n for n in names if graph.producer(n) is not None)


def in_words(graph: Graph, before: Graph, signs: Signs) -> list[str]:
    """What became of a network's layers on signs, for people.

    Args:
        graph: With binary layers.
        before: The same without.
        signs: What the ONNX model has.
    """
    layers = [op for op in graph.ops if op.custom_code == "LceBconv2d"]
    sentences = []
    if layers:
        held = sum(graph.tensors[op.inputs[1]].stored_bytes for op in layers)
        chained = sum(graph.tensors[op.outputs[0]].dtype == "int32" for op in layers)
        sentences.append(
            f"binary layers: {len(layers)}, of which {chained} pass bits on; their weights take {held:,} bytes"
        )
    kept = {**find_layers(before).refused, **signs.refused}
    sentences += [f"layer {name} stays as it is: {why}" for name, why in kept.items()]
    if signs.rounding:
        sentences.append(signs.rounding)
    if not layers:
        none = "reads signs (values of -s and s)" if not signs.layers else "with weights of -a and a reads signs"
        none = "none of these layers can be binary" if kept else f"no layer {none}"
        sentences.append(f"{none}, so that nothing is binary; float32 or int8 may serve better")
    return sentences
