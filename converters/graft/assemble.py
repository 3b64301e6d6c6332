"""From a plan to one ONNX graph for all tasks, with the segments it will be cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.own_format import OwnFormat
from multigraft.bundle.manifest import Task
from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.lineage import weights_digest
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import Network, model_of
from multigraft.errors import InputError


def assemble(
    networks: Sequence[Network], plan: SharingPlan, provenance: Mapping[str, Any] | None = None
) -> MultiTaskModel:
    """Join the networks as the plan says.

    Every network that is not grafted keeps its input; a grafted one contributes only its own part. Segments are called
    ``trunk``, ``trunk_2``... from the frame to the heads (``trunk_DONOR`` where several networks donate) and
    ``head_TASK``.

    Raises:
        InputError: The networks use different versions of the ONNX operator set.
    """
    if len({n.opset for n in networks}) > 1:
        have = ", ".join(f"{n.name}: {n.opset}" for n in networks)
        raise InputError(f"the networks use different operator sets ({have})", "export them with the same opset")
    roots = [plan.root(n) for n in networks if n.name not in plan.grafts]
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Any] = {}
    segments: list[SegmentSpec] = []
    tasks: dict[str, Task] = {}
    several = sum(any(c.join.donor == r.name for c in plan.grafts.values()) for r in roots) > 1
    for root in roots:
        grafts = [c for c in plan.grafts.values() if c.join.donor == root.name]
        trunk = f"trunk_{root.name}" if several else "trunk"
        reach = _trunk_segments(root, grafts, trunk, segments)
        head = f"head_{root.name}"
        last = max(grafts, key=lambda c: c.join.donor_point.node_index, default=None)
        start = last.join.donor_point.name if last else root.input
        segments.append(SegmentSpec(head, (start,), root.outputs))
        nodes += root.nodes
        constants |= root.constants
        tasks[root.name] = Task(
            root.name,
            root.kind,
            root.outputs,
            (*reach.get(start, ()), head),
            root.labels,
            "donor" if grafts else "unshared",
            fidelity=_thinned(plan, root.name),
            answer=_carried(root),
            on=root.on,
        )
        for graft in grafts:
            target = next(n for n in networks if n.name == graft.join.target)
            segments.append(SegmentSpec(f"head_{target.name}", (graft.tail.source,), target.outputs))
            nodes += graft.tail.nodes
            constants |= graft.tail.constants
            tasks[target.name] = _grafted_task(target, graft, reach[graft.tail.source])
    used = {i for n in nodes for i in n.input}
    graph = onnx.helper.make_graph(
        nodes,
        "multigraft",
        [_value(r.input, (1, *r.input_shape), r.input_dtype) for r in roots],
        [_value(o, n.whole_shape(o)) for n in networks for o in n.outputs],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )
    model = model_of(graph, networks[0].opset)
    onnx.checker.check_model(model)
    sources = {n.name: {"sha256": n.source_sha256, "weights_sha256": weights_digest(n)} for n in networks}
    return MultiTaskModel(
        model=model,
        inputs={r.input: r.preprocessing for r in roots},
        segments=tuple(segments),
        tasks=tuple(tasks[n.name] for n in networks),
        provenance={"sources": sources, **(provenance or {})},
        own={n.name: n.answer for n in networks if isinstance(n.answer, OwnFormat)},
    )


def _trunk_segments(
    root: Network, grafts: Sequence[Candidate], trunk: str, segments: list[SegmentSpec]
) -> dict[str, tuple[str, ...]]:
    """Add the trunk's segments; returns for every shared tensor the segments that lead to it."""
    points = {c.join.donor_point.name: c.join.donor_point for c in grafts}
    reach: dict[str, tuple[str, ...]] = {}
    start = root.input
    path: tuple[str, ...] = ()
    for position, point in enumerate(sorted(points.values(), key=lambda p: p.node_index), 1):
        name = trunk if position == 1 else f"{trunk}_{position}"
        segments.append(SegmentSpec(name, (start,), (point.name,)))
        path = (*path, name)
        reach[point.name] = path
        start = point.name
    return reach


def _thinned(plan: SharingPlan, name: str) -> dict[str, Any]:
    if (thinned := plan.thinned.get(name)) is None:
        return {}
    agreement = {"grafted_agreement": thinned.agreement.to_json()} if thinned.agreement else {}
    return {"thinned": thinned.to_json(), **agreement}


def _carried(network: Network) -> AnswerFormat | None:
    """What a bundle says of a network's answers: nothing of a function of the user, which is code."""
    return None if isinstance(network.answer, OwnFormat) else network.answer


def _grafted_task(target: Network, graft: Candidate, trunk: tuple[str, ...]) -> Task:
    join = graft.join
    return Task(
        target.name,
        target.kind,
        target.outputs,
        (*trunk, f"head_{target.name}"),
        target.labels,
        join.relation,
        join.donor,
        join.donor_point.label,
        {
            "method": join.method,
            "cka": join.cka,
            **({"grafted_agreement": graft.agreement.to_json()} if graft.agreement else {}),
            "layers": [vars(layer) for layer in graft.layers],
        },
        answer=_carried(target),
        on=target.on,
    )


def _value(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
