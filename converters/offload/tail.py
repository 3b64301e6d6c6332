"""The float rest of a task behind a cut point, as one ONNX model that reads the codec and answers as the bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from multigraft.bundle.bundle import Bundle
from multigraft.bundle.manifest import Manifest
from multigraft.converters.network.leading_nodes import leading_nodes, part_of
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import model_of, session_of
from multigraft.converters.offload.decoding import FEWEST_OPSET, Wire, decoding_model
from multigraft.converters.offload.golden import Axes, best_axes, golden_values, input_axes
from multigraft.errors import InputError, UsageError
from multigraft.runtime.offload.cuts import check_cut, cuts_of
from multigraft.tensors.arrays import Float32Array

LEAST_ALIKE = 0.9
"""Concordance between the bundle's golden values and the float network's, which an int8 bundle is far above."""
_VALUES = "multigraft_decode/values"
_OWN_LAYOUT = ":onnx"


@dataclass(frozen=True)
class Tail:
    """What a server loads.

    Attributes:
        task: Its name.
        cut: The bundle's tensor that travels.
        model: From the codec's tensors to the task's outputs, float32, in the bundle's layout.
        decoder: Its first part alone: from the codec's tensors to real values in the network's layout.
        alike: Tensor to the concordance of the bundle's golden values with those of the float network.
    """

    task: str
    cut: str
    model: onnx.ModelProto
    decoder: onnx.ModelProto
    alike: dict[str, float]


def make_tail(bundle: Bundle, network: MultiTaskModel, task_name: str, cut: str | None = None) -> Tail:
    """Cut a task's rest out of the float network, and put the decoder of the codec before it.

    Args:
        bundle: What runs on the device.
        network: The float graph that the bundle was converted from; for a cut at the input any network of the task.
        task_name: Of the bundle.
        cut: A tensor of the bundle; None for what the build chose, or else the last that can travel.

    Raises:
        BundleError: The bundle has no such task.
        UsageError: The task cannot be offloaded, or there is no such cut.
        InputError: The network does not compute what the bundle does.
    """
    manifest = bundle.manifest
    outputs = manifest.task(task_name).outputs
    cut = _chosen_cut(manifest, task_name, cut)
    theirs = _outputs(network, task_name, len(outputs))
    model = network.model
    opset = next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < FEWEST_OPSET:
        raise InputError(f"the network uses operator set {opset}", f"export it with {FEWEST_OPSET} or newer")
    ours, source = manifest.inputs_of(task_name)[0].tensor, _source(model, theirs)
    start = source if cut == ours else cut
    axes, alike = _matched(bundle, model, (ours, source), [(cut, start), *zip(outputs, theirs, strict=True)])
    wire = Wire(manifest.tensor(cut), axes[cut])
    decoder = decoding_model(wire, _VALUES, opset)
    rest = _rest(model, start, theirs)
    placed = [_placed(o, t, axes[o]) for o, t in zip(outputs, theirs, strict=True)]
    graph = helper.make_graph(
        [*decoder.graph.node, *rest, *placed],
        "rest",
        decoder.graph.input,
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, manifest.tensor(o).shape) for o in outputs],
        [*decoder.graph.initializer, *_constants(model, rest)],
    )
    whole = model_of(graph, opset)
    session_of(whole, task_name)
    return Tail(task_name, cut, whole, decoder, alike)


def _chosen_cut(manifest: Manifest, task: str, cut: str | None) -> str:
    if cut is None:
        cuts = cuts_of(manifest, task)
        if not cuts:
            raise UsageError(f"task {task} has no tensor that can travel", "build the bundle with --precision int8")
        choice = manifest.task(task).offload
        return choice.cut if choice is not None and choice.cut in cuts else cuts[-1]
    check_cut(manifest, task, cut)
    return cut


def _outputs(network: MultiTaskModel, task: str, count: int) -> tuple[str, ...]:
    found = next((t.outputs for t in network.tasks if t.name == task), None)
    if found is None:
        have = ", ".join(t.name for t in network.tasks)
        raise InputError(f"the network has no task {task!r}", f"give one of {have}, or the network of that task")
    if len(found) != count:
        raise InputError(
            f"task {task} has {len(found)} outputs in the network and {count} in the bundle",
            "give the network that the bundle was built of",
        )
    return found


def _source(model: onnx.ModelProto, outputs: Iterable[str]) -> str:
    """The one input that outputs hang on."""
    nodes = leading_nodes(model.graph.node, outputs)
    read = {name for node in nodes for name in node.input}
    found = [i.name for i in model.graph.input if i.name in read]
    if len(found) != 1:
        raise InputError(f"the task reads {len(found)} inputs in the network", "give a network of one input")
    source: str = found[0]
    return source


def _matched(
    bundle: Bundle, model: onnx.ModelProto, inputs: tuple[str, str], pairs: list[tuple[str, str]]
) -> tuple[dict[str, Axes], dict[str, float]]:
    """How the bundle's tensors lie in the network, and how alike their values are, found by its golden frames.

    Args:
        bundle: It.
        model: The network.
        inputs: The bundle's input, and the network's.
        pairs: Tensors of the bundle, each with that of the network.
    """
    golden = golden_values(bundle)
    ours, source = inputs
    known = {o for node in model.graph.node for o in node.output} | {source}
    if missing := [theirs for _, theirs in pairs if theirs not in known]:
        raise InputError(
            f"the network has no tensor {missing[0]}",
            "give the network that the bundle was built of (multigraft graft)",
        )
    wanted = list(dict.fromkeys(theirs for _, theirs in pairs if theirs != source))
    session = session_of(part_of(model, source, wanted), "of the server")
    expected = next(d for d in session.get_inputs() if d.name == source).shape
    best: tuple[float, dict[str, Axes], dict[str, float]] = (-2.0, {}, {})
    for order in input_axes(bundle, ours):
        values = golden[ours].transpose(0, *(a + 1 for a in order))
        if any(isinstance(e, int) and e != g for e, g in zip(expected, values.shape[1:], strict=False)):
            continue
        found = [dict(zip(wanted, session.run(wanted, {source: np.ascontiguousarray(v)}), strict=True)) for v in values]
        theirs: Mapping[str, Float32Array] = {n: np.stack([f[n] for f in found]) for n in wanted} | {source: values}
        fits = {name: best_axes(golden[name], theirs[other]) for name, other in pairs}
        least = min(alike for _, alike in fits.values())
        if least > best[0]:
            best = least, {n: axes for n, (axes, _) in fits.items()}, {n: alike for n, (_, alike) in fits.items()}
    if best[0] < LEAST_ALIKE:
        raise InputError(
            "the network does not compute what the bundle does on its golden frames",
            "give the network that the bundle was built of (multigraft graft)",
        )
    return best[1], best[2]


def _rest(model: onnx.ModelProto, start: str, outputs: tuple[str, ...]) -> list[onnx.NodeProto]:
    """Nodes from the cut to the outputs, reading what was decoded."""
    nodes = leading_nodes(model.graph.node, outputs, {start})
    made = {name for node in nodes for name in node.output}
    constants = {i.name for i in model.graph.initializer}
    if others := {n for node in nodes for n in node.input if n} - made - constants - {start}:
        raise InputError(f"the rest of the network also reads {min(others)}", "cut where all paths meet")
    names = {start: _VALUES} | {o: o + _OWN_LAYOUT for o in outputs}
    renamed = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(n, n) for n in node.input]
        copy.output[:] = [names.get(n, n) for n in node.output]
        renamed.append(copy)
    return renamed


def _placed(output: str, theirs: str, axes: Axes) -> onnx.NodeProto:
    """The network's output in the bundle's layout."""
    back = [axes.index(a) for a in range(len(axes))]
    return helper.make_node("Transpose", [theirs + _OWN_LAYOUT], [output], name=f"place/{output}", perm=back)


def _constants(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[onnx.TensorProto]:
    read = {name for node in nodes for name in node.input}
    return [constant for constant in model.graph.initializer if constant.name in read]
