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
from multigraft.converters.descent.trunk_parts import trunk_parts
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
    ``head_TASK``; a task that answers with tensors of the trunk alone has no head.

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
    made = {o: root.whole_shape(o) for root in roots for o in root.outputs}
    several = sum(any(c.join.donor == r.name for c in plan.grafts.values()) for r in roots) > 1
    for root in roots:
        grafts = [c for c in plan.grafts.values() if c.join.donor == root.name]
        parts = trunk_parts(root, {c.join.target: c.tail.sources for c in grafts})
        trunk = f"trunk_{root.name}" if several else "trunk"
        named = [(part, trunk if k == 1 else f"{trunk}_{k}") for k, part in enumerate(parts.trunk, 1)]
        segments += [SegmentSpec(name, part.inputs, part.outputs) for part, name in named]
        nodes += root.nodes
        constants |= root.constants
        head = SegmentSpec(f"head_{root.name}", parts.head.inputs, parts.head.outputs)
        own = [head] if head.outputs else []
        segments += own
        tasks[root.name] = Task(
            root.name,
            root.kind,
            root.outputs,
            (*(name for _, name in named), *(s.name for s in own)),
            root.labels,
            "donor" if grafts else "unshared",
            fidelity=_thinned(plan, root.name),
            answer=_carried(root),
            on=root.on,
        )
        for graft in grafts:
            target = next(n for n in networks if n.name == graft.join.target)
            tail = graft.tail
            own = [SegmentSpec(f"head_{target.name}", tail.read, tail.own_outputs)] if tail.own_outputs else []
            segments += own
            nodes += tail.nodes
            constants |= tail.constants
            names = (*(name for part, name in named if target.name in part.tasks), *(s.name for s in own))
            tasks[target.name] = _grafted_task(target, graft, names)
            made |= {o: target.whole_shape(o) for o in tail.own_outputs}
            made |= {o: root.whole_shape(o) for o in tail.outputs if o in tail.sources}
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
    sources = {n.name: {"sha256": n.source_sha256, "weights_sha256": weights_digest(n)} for n in networks}
    return MultiTaskModel(
        model=model,
        inputs={r.input: r.preprocessing for r in roots},
        segments=tuple(segments),
        tasks=tuple(tasks[n.name] for n in networks),
        provenance={"sources": sources, **(provenance or {})},
        own={n.name: n.answer for n in networks if isinstance(n.answer, OwnFormat)},
    )


def _thinned(plan: SharingPlan, name: str) -> dict[str, Any]:
    if (thinned := plan.thinned.get(name)) is None:
        return {}
    agreement = {"grafted_agreement": thinned.agreement.to_json()} if thinned.agreement else {}
    return {"thinned": thinned.to_json(), **agreement}


def _carried(network: Network) -> AnswerFormat | None:
    """What a bundle says of a network's answers: nothing of a function of the user, which is code."""
    return None if isinstance(network.answer, OwnFormat) else network.answer


def _grafted_task(target: Network, graft: Candidate, segments: tuple[str, ...]) -> Task:
    join = graft.join
    return Task(
        target.name,
        target.kind,
        graft.tail.outputs,
        segments,
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
