"""From a plan to one ONNX graph for all tasks, with the segments it will be cut into."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.answers.answer_format import AnswerFormat
from multigraft.answers.own_format import OwnFormat
from multigraft.bundle.manifest import Task
from multigraft.converters.descent.trunk_parts import TrunkPart, trunk_parts
from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.lineage import weights_digest
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.network.leading_nodes import leading_nodes
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import Network, model_of
from multigraft.errors import InputError


def assemble(
    networks: Sequence[Network], plan: SharingPlan, provenance: Mapping[str, Any] | None = None
) -> MultiTaskModel:
    """Join the networks as the plan says.

    Every network that is not grafted keeps its input; a grafted one contributes only its own part. Segments are called
    ``trunk``, ``trunk_2``... from the frame to the heads (``trunk_DONOR`` where several networks donate) and
    ``head_TASK``; a task that answers with tensors of the trunk alone has no head. What other tasks need of a task
    that is grafted itself is ``branch_TASK``.

    Raises:
        InputError: The networks use different versions of the ONNX operator set.
    """
    if len({n.opset for n in networks}) > 1:
        have = ", ".join(f"{n.name}: {n.opset}" for n in networks)
        raise InputError(f"the networks use different operator sets ({have})", "export them with the same opset")
    by_name = {n.name: n for n in networks}
    roots = [plan.root(n) for n in networks if n.name not in plan.grafts]
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Any] = {}
    segments: list[SegmentSpec] = []
    tasks: dict[str, Task] = {}
    made = {o: root.whole_shape(o) for root in roots for o in root.outputs}
    several = sum(any(c.join.donor == r.name for c in plan.grafts.values()) for r in roots) > 1
    for root in roots:
        grafts = {c.join.target: c for c in plan.grafts_on(root.name)}
        sources = {task: _sources(task, grafts, root.name) for task in grafts}
        parts = trunk_parts(root.nodes, root.constants, root.outputs, sources)
        named = _named(parts.trunk, f"trunk_{root.name}" if several else "trunk", segments)
        segments += _specs(named)
        nodes += root.nodes
        constants |= root.constants
        head = SegmentSpec(f"head_{root.name}", parts.head.inputs, parts.head.outputs)
        own = [head] if head.outputs else []
        segments += own
        tasks[root.name] = Task(
            root.name,
            root.kind,
            root.outputs,
            (*(name for name, _ in named), *(s.name for s in own)),
            root.labels,
            "donor" if grafts else "unshared",
            fidelity=_thinned(plan, root.name),
            answer=_carried(root),
            on=root.on,
        )
        for task, graft in grafts.items():
            target, tail = by_name[task], graft.tail
            branch, own = _branch(graft, grafts, segments)
            on_it = [name for name, part in named if task in part.tasks]
            named += branch
            segments += [*_specs(branch), *own]
            nodes += tail.nodes
            constants |= tail.constants
            names = (*on_it, *(name for name, _ in branch), *(s.name for s in own))
            tasks[task] = _grafted_task(target, graft, root.name, names)
            made |= {o: target.whole_shape(o) for o in tail.own_outputs}
            if answered := [o for o in tail.outputs if o in tail.sources]:
                stood_on = [root, *(by_name[n] for n in _donors(task, grafts) if n in grafts)]
                made |= {o: next(n.whole_shape(o) for n in stood_on if o in n.shapes) for o in answered}
    used = {i for n in nodes for i in n.input}
    graph = onnx.helper.make_graph(
        nodes,
        "multigraft",
        [_value(r.input, (1, *r.input_shape), r.input_dtype) for r in roots],
        [_value(o, made[o]) for o in dict.fromkeys(o for n in networks for o in tasks[n.name].outputs)],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )
    model = model_of(graph, networks[0].opset)
    onnx.checker.check_model(model)
    digests = {n.name: {"sha256": n.source_sha256, "weights_sha256": weights_digest(n)} for n in networks}
    return MultiTaskModel(
        model=model,
        inputs={r.input: r.preprocessing for r in roots},
        segments=tuple(segments),
        tasks=tuple(tasks[n.name] for n in networks),
        provenance={"sources": digests, **(provenance or {})},
        own={n.name: n.answer for n in networks if isinstance(n.answer, OwnFormat)},
    )


def _sources(task: str, grafts: Mapping[str, Candidate], donor: str) -> set[str]:
    """What a task reads or answers with of a network that it stands on, whatever lies between."""
    found = set(grafts[task].tail.sources)
    while (task := grafts[task].join.donor) != donor:
        for node in leading_nodes(grafts[task].tail.nodes, found):
            found.update(node.input)
    return found


Named = list[tuple[str, TrunkPart]]


def _named(parts: Sequence[TrunkPart], name: str, others: Sequence[SegmentSpec]) -> Named:
    """Parts by the name and by it with a number, of which the first part of ``task_2`` may have one already."""
    taken = {segment.name for segment in others}
    names = (found for k in itertools.count(1) if (found := name if k == 1 else f"{name}_{k}") not in taken)
    return list(zip(names, parts, strict=False))


def _specs(named: Named) -> list[SegmentSpec]:
    return [SegmentSpec(name, part.inputs, part.outputs) for name, part in named]


def _branch(
    graft: Candidate, grafts: Mapping[str, Candidate], others: Sequence[SegmentSpec]
) -> tuple[Named, list[SegmentSpec]]:
    """What other tasks need of a grafted network's own part, and its head."""
    task, tail = graft.join.target, graft.tail
    sources = {name: _sources(name, grafts, task) for name in grafts if task in _donors(name, grafts)}
    if not sources:
        return [], [SegmentSpec(f"head_{task}", tail.read, tail.own_outputs)] if tail.own_outputs else []
    parts = trunk_parts(tail.nodes, tail.constants, tail.own_outputs, sources)
    # Whoever stands on a branch does not need the task, but the task needs all of it.
    head = SegmentSpec(f"head_{task}", parts.head.inputs, parts.head.outputs)
    return _named(parts.trunk, f"branch_{task}", others), [head] if head.outputs else []


def _donors(task: str, grafts: Mapping[str, Candidate]) -> Iterator[str]:
    """The networks that a task stands on, the nearest first."""
    while task in grafts:
        yield (task := grafts[task].join.donor)


def _thinned(plan: SharingPlan, name: str) -> dict[str, Any]:
    if (thinned := plan.thinned.get(name)) is None:
        return {}
    agreement = {"grafted_agreement": thinned.agreement.to_json()} if thinned.agreement else {}
    return {"thinned": thinned.to_json(), **agreement}


def _carried(network: Network) -> AnswerFormat | None:
    """What a bundle says of a network's answers: nothing of a function of the user, which is code."""
    return None if isinstance(network.answer, OwnFormat) else network.answer


def _grafted_task(target: Network, graft: Candidate, root: str, segments: tuple[str, ...]) -> Task:
    join = graft.join
    return Task(
        target.name,
        target.kind,
        graft.tail.outputs,
        segments,
        target.labels,
        join.relation,
        root,
        join.donor_point.label,
        {
            "method": join.method,
            "cka": join.cka,
            **({"grafted_agreement": graft.agreement.to_json()} if graft.agreement else {}),
            "layers": [vars(layer) for layer in graft.layers],
            **({"thinned": graft.thinned_json()} if graft.thinned else {}),
        },
        answer=_carried(target),
        on=target.on,
        branch=None if join.donor == root else join.donor,
    )


def _value(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
