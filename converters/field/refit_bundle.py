"""Makes the refit bundle: everything a device needs to re-solve grafted layers from its own frames.

Where the converter puts a weight depends on the operator (transposed, split, flattened). So each weight to be solved
is given a value that no other number of the model has, by a change in its last places, and is found again in the
converted file by that value. A layer of which a weight is not found, because the converter computed with it, keeps its
original weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from multigraft.answers.crops import On, way_to_crops
from multigraft.bundle.bundle import GOLDEN_OUTPUTS, Bundle
from multigraft.bundle.manifest import Task
from multigraft.converters.conversion.boundary_tensors import OnnxRunner, fit, to_tflite_layout
from multigraft.converters.conversion.interpreters import Runner
from multigraft.converters.field.bundle_kinds import RefitBundle
from multigraft.converters.field.thinned_order import FieldThinning
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.layer_order import NOW, LayerOrder, layer_order
from multigraft.converters.job.progress import Report, silent
from multigraft.converters.network.cut_frames import answer_on_device
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.network.network import Network, model_of
from multigraft.converters.packing.convert import convert
from multigraft.errors import ConversionError, InputError
from multigraft.npz import npz_bytes, read_npz, stored_npz_bytes
from multigraft.refit.refit_plan import ARRAYS, PLAN, SEGMENT, THINNED, PlannedGraft, RefitPlan, Stage
from multigraft.tensors.array_preparation import ArrayPreparation
from multigraft.tensors.preparation import prepare_frames, random_frame

VERIFIED_INPUTS = 8
FINDER = "boxes_"
"""Begins the name of a task that finds the boxes at which the grafted networks look."""

LEAST = np.float32(1e-20)
"""Weights below are raised to it: so small numbers have no place of their own, and change nothing."""

Arrays = dict[str, npt.NDArray[Any]]


def make_refit_bundle(
    networks: Sequence[Network],
    joins: Sequence[Join],
    name: str,
    work_dir: Path,
    report: Report = silent,
    *,
    thinnings: Sequence[FieldThinning] = (),
    tolerances: Mapping[str, float | None] | None = None,
) -> RefitBundle:
    """Convert donors, originals, grafted rests and thinned networks to a refit bundle.

    Args:
        networks: All of them, as imported.
        joins: At most one per target, each by refit or adapter.
        name: The bundle's name.
        work_dir: An existing folder for intermediate files.
        report: Takes a line for each step.
        thinnings: Networks that stand alone with fewer channels, none of them a target or donor of ``joins``.
        tolerances: Task to tolerance of its agreement.

    Raises:
        ConversionError: The conversion failed, or no weight can be found in its result.
        InputError: The networks use different versions of the ONNX operator set.
    """
    by_name = {n.name: n for n in networks}
    orders = {j.target: layer_order(j, by_name[j.target]) for j in joins}
    orders |= {t.network.name: t.order() for t in thinnings}
    solved = {key: value for o in orders.values() for key, value in o.constants.items() if _is_solved(key, o)}
    marked = _marked(solved)
    model = _model(by_name, joins, orders, marked)
    converted = convert(
        model, {}, precision="float32", name=name, work_dir=work_dir, report=report, verified_inputs=VERIFIED_INPUTS
    ).bundle
    places = _places(converted.model, marked)
    axes = _axes(converted, model)
    by_target = {j.target: j for j in joins}
    kept = {t.network.name: dict(t.kept) for t in thinnings}
    grafts = []
    for task, order in orders.items():
        stages = tuple(stage for stage in order.stages if all(k in places for k in _keys(stage, marked)))
        if lost := [stage.layer for stage in order.stages if stage not in stages]:
            if not stages:
                raise ConversionError(f"no weight of {task} is to be found after conversion", "share elsewhere")
            report(f"{task}: {len(lost)} layers cannot be refitted on the device, the first is {lost[0]}")
        target, join = by_name[task], by_target.get(task)
        grafts.append(
            PlannedGraft(
                task,
                *_whereabouts(target, join),
                target.kind,
                target.outputs,
                tuple(NOW + o for o in target.outputs),
                stages,
                {t: axes[t] for t in _taps(order, target)},
                None if join is None else join.cka,
                (tolerances or {}).get(task),
                kept.get(task, {}),
            )
        )
    plan = RefitPlan(tuple(grafts), {n.name: n.source_sha256 for n in networks})
    arrays = {f"{key}/places": place for key, place in places.items()} | {k: marked[k] for k in places}
    contents = {file: converted.read(file) for file in converted.manifest.files}
    contents |= {PLAN: plan.to_bytes(), ARRAYS: npz_bytes(arrays), GOLDEN_OUTPUTS: _answers_only(converted)}
    return RefitBundle(Bundle.create(converted.manifest, contents))


def _whereabouts(target: Network, join: Join | None) -> tuple[str, str, str, str, str]:
    """Donor, its point, the target's, method and relation."""
    if join is None:
        return target.name, target.input, target.input, THINNED, "relative"
    return join.donor, join.donor_point.name, join.target_point.name, join.method, join.relation


def _is_solved(key: str, order: LayerOrder) -> bool:
    return any(key in (f"{s.layer}/1", f"{s.layer}/2") for s in order.stages)


def _keys(stage: Stage, marked: Mapping[str, Any]) -> list[str]:
    return [k for k in (f"{stage.layer}/1", f"{stage.layer}/2") if k in marked]


def _taps(order: LayerOrder, target: Network) -> list[str]:
    """The tensors that the device reads."""
    read = [t for s in order.stages for t in (s.receives, s.wanted, s.skip_now, s.skip_original) if t]
    return list(dict.fromkeys([*read, *target.outputs, *(NOW + o for o in target.outputs)]))


def _marked(solved: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """The same weights, each with bits of its own: odd, and no two alike. Others are made even by :func:`_even`."""
    flat = np.concatenate([v.astype(np.float32).reshape(-1) for v in solved.values()])
    flat = np.where(np.abs(flat) < LEAST, np.copysign(LEAST, flat), flat)
    bits = flat.view(np.uint32).copy()
    for sign in (0, 1):
        rows = np.flatnonzero(bits >> 31 == sign)
        order = rows[np.argsort(bits[rows], kind="stable")]
        steps = 2 * np.arange(len(order), dtype=np.int64)
        bits[order] = (np.maximum.accumulate(bits[order].astype(np.int64) - steps) + steps).astype(np.uint32) | 1
    flat = bits.view(np.float32)
    marked, start = {}, 0
    for key, value in solved.items():
        marked[key] = flat[start : start + value.size].reshape(value.shape)
        start += value.size
    return marked


def _even(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if value.dtype != np.float32 or value.ndim == 0:
        return value
    return (np.ascontiguousarray(value).view(np.uint32) & np.uint32(0xFFFFFFFE)).view(np.float32)


def _places(content: bytes, marked: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.int32]]:
    """Key to the index of each of its weights in the file, taken as float32; without keys that are not found whole."""
    words = np.frombuffer(content, "<u4", len(content) // 4)
    order = np.argsort(words, kind="stable")
    ordered = words[order]
    places = {}
    for key, value in marked.items():
        bits = np.ascontiguousarray(value).reshape(-1).view(np.uint32)
        first, last = np.searchsorted(ordered, bits, "left"), np.searchsorted(ordered, bits, "right")
        if (last - first == 1).all():
            places[key] = order[first].astype(np.int32).reshape(value.shape)
    return places


def _model(
    networks: Mapping[str, Network], joins: Sequence[Join], orders: Mapping[str, LayerOrder], marked: Mapping[str, Any]
) -> MultiTaskModel:
    if len({n.opset for n in networks.values()}) > 1:
        raise InputError("the networks use different operator sets", "export them with the same opset")
    nodes: list[onnx.NodeProto] = []
    constants: Arrays = {}
    inputs, segments, tasks = {}, [], []
    finders = _finders(networks, orders)
    for donor in dict.fromkeys(j.donor for j in joins):
        last = max(j.donor_point.node_index for j in joins if j.donor == donor)
        nodes += networks[donor].nodes[: None if donor in finders else last + 1]
    placed = {j.donor for j in joins}
    for name in (name for name in finders if name not in placed):
        nodes += networks[name].nodes
    placed |= set(finders)
    for finder in (networks[name] for name in finders):
        constants |= finder.constants
        inputs[finder.input] = finder
        segment = f"{FINDER}{finder.name}"
        segments.append(SegmentSpec(segment, (finder.input,), finder.outputs))
        tasks.append(
            Task(
                segment,
                finder.kind,
                finder.outputs,
                (segment,),
                finder.labels,
                answer=answer_on_device(finder),
                on=_on(finder),
            )
        )
    donors = {j.target: j.donor for j in joins}
    for name, order in orders.items():
        target = networks[name]
        source = networks[donors.get(name, name)]
        nodes += [*(() if target.name in placed else target.nodes), *order.nodes]
        constants |= order.constants
        for network in (source, target):
            constants |= network.constants
            inputs[network.input] = network
        outputs = tuple(_taps(order, target))
        sources = tuple(dict.fromkeys([source.input, target.input]))
        segments.append(SegmentSpec(f"{SEGMENT}{target.name}", sources, outputs))
        answers = (*target.outputs, *(NOW + o for o in target.outputs))
        tasks.append(
            Task(target.name, target.kind, answers, (f"{SEGMENT}{target.name}",), target.labels, on=_on(target))
        )
    used = {i for n in nodes for i in n.input}
    linear = {n.input[p] for n in nodes if n.op_type in _WEIGHTED for p in range(1, len(n.input))}
    initializers = {k: marked.get(k, _even(v) if k in linear else v) for k, v in constants.items() if k in used}
    graph = onnx.helper.make_graph(
        nodes,
        "refit",
        [_value(name, n.input_shape) for name, n in inputs.items()],
        [_value(name, shape) for name, shape in _answers(networks, orders, finders).items()],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in initializers.items()],
    )
    model = model_of(graph, next(iter(networks.values())).opset)
    onnx.checker.check_model(model)
    return MultiTaskModel(
        model,
        {name: n.preprocessing for name, n in inputs.items()},
        tuple(segments),
        tuple(tasks),
        {"plan": "refit on the device"},
    )


def _finders(networks: Mapping[str, Network], targets: Iterable[str]) -> tuple[str, ...]:
    """The networks whose boxes the grafted ones look at, those of whole frames first."""
    ways = [way_to_crops(target, lambda name: networks[name].on) for target in targets]
    return tuple(dict.fromkeys(on.task for way in ways for on in way))


def _on(network: Network) -> On | None:
    """What it looks at, found by the task of the refit bundle that only finds."""
    on = network.on
    return None if on is None else dataclasses.replace(on, task=f"{FINDER}{on.task}", deadline_us=None)


def _answers(
    networks: Mapping[str, Network], targets: Iterable[str], finders: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Answer to its shape: of the finders, of the originals and of the grafted."""
    shapes = {o: networks[name].shapes[o] for name in finders for o in networks[name].outputs}
    for target in (networks[name] for name in targets):
        shapes |= {name: target.shapes[o] for o in target.outputs for name in (o, NOW + o)}
    return shapes


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, *shape])


def _axes(bundle: Bundle, model: MultiTaskModel) -> dict[str, tuple[int, ...]]:
    """Tensor to the transposition that takes its value in the model back to ONNX's layout, found by value."""
    rng = np.random.default_rng(0)
    feeds = []
    for _ in range(2):
        feeds.append({n: prepare_frames([random_frame(p, rng)], p) for n, p in model.inputs.items()})
    runner = Runner(bundle.model)
    axes: dict[str, tuple[int, ...]] = {}
    for segment in model.segments:
        onnx_runner = OnnxRunner(model.model, segment.outputs)
        references = [onnx_runner(feed) for feed in feeds]
        inputs = bundle.manifest.segment(segment.name).inputs
        stored = [to_tflite_layout({n: f[n] for n in inputs}, _layouts(bundle, inputs)) for f in feeds]
        values = [runner(feed, segment.name) for feed in stored]
        for name in segment.outputs:
            laid_out = [_without_height(v[name], r[name].ndim) for v, r in zip(values, references, strict=True)]
            best = fit(laid_out, [r[name] for r in references], name)
            if best is None:
                raise ConversionError(f"tensor {name!r} differs after conversion", "share at another layer")
            axes[name] = tuple(int(i) for i in np.argsort(best[2]))
    return axes


def _layouts(bundle: Bundle, inputs: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Input to the permutation that takes its value in ONNX to that in the model."""
    layouts: dict[str, tuple[int, ...]] = {}
    for source in bundle.manifest.inputs:
        if source.tensor in inputs:
            preparation = source.preprocessing
            if isinstance(preparation, ArrayPreparation):
                order = preparation.order or tuple(range(len(preparation.shape)))
                layouts[source.tensor] = (0, *(axis + 1 for axis in order))
            else:
                layouts[source.tensor] = (0, 2, 3, 1)
    return layouts


def _without_height(value: npt.NDArray[Any], rank: int) -> npt.NDArray[Any]:
    """A signal without the height of 1 that it has in the .tflite file."""
    return value[:, 0] if value.ndim == rank + 1 == 4 and value.shape[1] == 1 else value


def _answers_only(bundle: Bundle) -> bytes:
    """Golden outputs of the tasks alone: those of all layers would be many times the model."""
    wanted = {o for t in bundle.manifest.tasks for o in t.outputs}
    outputs = read_npz(bundle.read(GOLDEN_OUTPUTS))
    return stored_npz_bytes({name: value for name, value in outputs.items() if name in wanted})


def with_solved_weights(target: Network, join: Join, weights: Mapping[str, npt.NDArray[Any]]) -> LayerOrder:
    """The grafted rest of ``target`` with solved weights in the place of the original ones.

    Args:
        target: As planned.
        join: As planned.
        weights: ``LAYER/1`` and ``LAYER/2``; layers that are not in it stay as they are.

    Raises:
        InputError: A weight has another shape.
    """
    order = layer_order(join, target)
    for key, value in weights.items():
        if key in order.constants and order.constants[key].shape != value.shape:
            raise InputError(f"{key} of the refit has shape {value.shape}", "refit again with a plan of these networks")
    known = {k: v for k, v in weights.items() if k in order.constants}
    return dataclasses.replace(order, constants=order.constants | known)
