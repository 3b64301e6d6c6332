"""Where a task may exit, and what becomes of segments that are split there."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from multigraft.converters.exits.heads import fit_head, grids_of, pooled
from multigraft.converters.exits.inserting import with_exits, without_exits
from multigraft.converters.exits.places import Places
from multigraft.converters.exits.planning import Planned
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.standing import alone
from tests.converters.graft.networks import frames, residual_network


@pytest.fixture(scope="module")
def multitask() -> MultiTaskModel:
    return alone(residual_network("digit", 1))


def planned(multitask: MultiTaskModel, number: int, grid: int = 1) -> Planned:
    place = Places(multitask).of(multitask.tasks[0])[number]
    size = place.shape[0] * grid * grid
    random = np.random.default_rng(number)
    features = random.normal(size=(50, size)).astype(np.float32)
    head = fit_head(features, features @ random.normal(size=(size, 3)).astype(np.float32), grid)
    logits = np.zeros((50, 3), np.float32)
    return Planned(place, head, "probability", 1.0, np.zeros(50), 0.5, np.ones(50, bool), logits)


def test_places_lie_where_all_paths_meet(multitask: MultiTaskModel) -> None:
    network = residual_network("digit", 1)
    places = Places(multitask).of(multitask.tasks[0])
    assert [p.tensor for p in places] == ["digit/stem", "digit/block"]
    assert [p.macs for p in places] == [c.macs for c in network.cut_points[: len(places)]]
    assert all(p.segment == "head_digit" and not p.ends_segment for p in places)
    assert Places(multitask).task_macs(multitask.tasks[0]) == network.macs


def test_a_segment_ends_where_it_ended_before(multitask: MultiTaskModel) -> None:
    task = dataclasses.replace(multitask.tasks[0], segments=("trunk", "head_digit"))
    trunk = SegmentSpec("trunk", ("digit/image",), ("digit/block",))
    head = SegmentSpec("head_digit", ("digit/block",), ("digit/logits",))
    cut = dataclasses.replace(multitask, segments=(trunk, head), tasks=(task,))
    block = Places(cut).of(task)[-1]
    assert (block.tensor, block.segment, block.ends_segment) == ("digit/block", "trunk", True)
    head_of = dataclasses.replace(planned(multitask, 1), place=block)
    whole, (inserted,) = with_exits(cut, "digit", [head_of])
    assert [s.name for s in whole.segments] == ["trunk", "exit_digit", "head_digit"]
    assert whole.tasks[0].segments == ("trunk", "head_digit")
    assert inserted.segment == "exit_digit"


def test_exits_split_segments_and_compute_what_was_fitted(multitask: MultiTaskModel) -> None:
    exits = [planned(multitask, 0, 2), planned(multitask, 1)]
    whole, inserted = with_exits(multitask, "digit", exits)
    assert [(s.name, s.inputs, s.outputs) for s in whole.segments] == [
        ("head_digit", ("digit/image",), ("digit/stem",)),
        ("exit_digit_1", ("digit/stem",), ("digit/exit_1",)),
        ("head_digit_2", ("digit/stem",), ("digit/block",)),
        ("exit_digit_2", ("digit/block",), ("digit/exit_2",)),
        ("head_digit_3", ("digit/block",), ("digit/logits",)),
    ]
    assert whole.tasks[0].segments == ("head_digit", "head_digit_2", "head_digit_3")
    assert whole.ends == ["digit/logits", "digit/exit_1", "digit/exit_2"]
    model = onnx.ModelProto()
    model.CopyFrom(whole.model)
    del model.graph.output[:]
    names = ["digit/stem", "digit/block", "digit/exit_1", "digit/exit_2"]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    import onnxruntime

    network = residual_network("digit", 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip(names, session.run(names, {"digit/image": network.prepare(frames(1))}), strict=True))
    for one, tensor in zip(inserted, ("digit/stem", "digit/block"), strict=True):
        head = one.planned.head
        expected = pooled(values[tensor][0], head.grid) @ head.weight + head.bias
        np.testing.assert_allclose(values[one.output][0], expected, rtol=1e-4, atol=1e-5)
    fewer = without_exits(whole, inserted[:1])
    assert [(s.name, s.inputs, s.outputs) for s in fewer.segments] == [
        ("head_digit", ("digit/image",), ("digit/block",)),
        ("exit_digit_2", ("digit/block",), ("digit/exit_2",)),
        ("head_digit_3", ("digit/block",), ("digit/logits",)),
    ]
    assert fewer.ends == ["digit/logits", "digit/exit_2"]
    assert fewer.tasks[0].segments == ("head_digit", "head_digit_3")
    for order in (inserted, inserted[::-1]):
        none = without_exits(whole, order)
        assert (none.segments, none.tasks, none.early) == (multitask.segments, multitask.tasks, ())


def test_a_segment_stays_split_where_another_exit_leaves(multitask: MultiTaskModel) -> None:
    whole, first = with_exits(multitask, "digit", [planned(multitask, 0)])
    at_end = dataclasses.replace(planned(multitask, 0).place, ends_segment=True)
    both, second = with_exits(whole, "digit", [dataclasses.replace(planned(multitask, 0), place=at_end)])
    assert without_exits(both, first).tasks[0].segments == ("head_digit", "head_digit_2")
    assert without_exits(both, second).segments == whole.segments
    assert without_exits(both, [*first, *second]).segments == multitask.segments


def test_the_softmax_is_left_to_the_exit() -> None:
    network = residual_network("digit", 1)
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    model.graph.node.append(onnx.helper.make_node("Softmax", ["digit/logits"], ["digit/p"]))
    model.graph.output[0].name = "digit/p"
    multitask = alone(type(network)("digit", model, network.preprocessing))
    assert Places(multitask).logits_of(multitask.tasks[0]) == "digit/logits"


def test_pictures_are_averaged_cell_by_cell() -> None:
    value = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    np.testing.assert_array_equal(pooled(value, 1), value.mean(axis=(1, 2)))
    np.testing.assert_array_equal(pooled(value, 4), value.reshape(-1))
    assert pooled(value, 2)[1] == value[0, :2, 2:].mean()
    assert grids_of((2, 4, 4)) == [1, 2, 4]
    assert grids_of((2, 7, 7)) == [1]
    assert grids_of((512, 4, 4)) == [1]
    assert grids_of((64,)) == [0]


def test_names_that_networks_and_tasks_have_are_left_to_them(multitask: MultiTaskModel) -> None:
    taken = onnx.ModelProto()
    taken.CopyFrom(multitask.model)
    taken.graph.node.append(onnx.helper.make_node("Relu", ["digit/stem"], ["digit/exit_1"]))
    (head,) = multitask.segments
    beside = dataclasses.replace(multitask, model=taken, segments=(head, dataclasses.replace(head, name="exit_digit")))
    whole, (inserted,) = with_exits(beside, "digit", [planned(multitask, 0)])
    assert (inserted.output, inserted.segment) == ("digit/exit_1_", "exit_digit_")
    written = [name for node in whole.model.graph.node for name in node.output]
    assert len(written) == len(set(written))
    assert len({s.name for s in whole.segments}) == len(whole.segments)
