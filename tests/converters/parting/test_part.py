"""Which outputs are parted, into what, and by what names: on float graphs that are built in code."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from multigraft.bundle.manifest import Kind, Task
from multigraft.converters.conversion.boundary_tensors import FloatModel
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.network.multitask import MultiTaskModel, SegmentSpec
from multigraft.converters.packing.segments import cut_into_segments
from multigraft.converters.parting.part import Parting, part_outputs, with_parts
from multigraft.tflite.graph import Graph
from tests.converters.graph_builder import GraphBuilder, run

PREPARED = np.linspace(0.1, 1, 32, dtype=np.float32).reshape(1, 4, 8)
FEEDS: list[Arrays] = [{"image": PREPARED}, {"image": PREPARED[:, ::-1].copy()}]


class Finder(GraphBuilder):
    """A trunk that ends at ``cut``, and joins of boxes and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.op("RELU", "cut", [self.input("image", 1, 4, 8)], (1, 4, 8))
        self.op("MUL", "boxes", ["cut", self.constant("size", 640.0)], (1, 4, 8), fused_activation_function="NONE")
        self.op("LOGISTIC", "scores", ["cut"], (1, 4, 8))

    def concat(self, name: str, *parts: str, size: int = 16) -> str:
        return self.op("CONCATENATION", name, list(parts), (1, 4, size), axis=2, fused_activation_function="NONE")


def multitask(kind: Kind = "detection", **heads: tuple[str, ...]) -> MultiTaskModel:
    """Tasks with their outputs, all behind ``cut``."""
    trunk = SegmentSpec("trunk", ("image",), ("cut",))
    segments = [SegmentSpec(f"head_{name}", ("cut",), outputs) for name, outputs in heads.items()]
    tasks = [Task(name, kind, outputs, ("trunk", f"head_{name}")) for name, outputs in heads.items()]
    return MultiTaskModel(onnx.ModelProto(), {}, (trunk, *segments), tuple(tasks))


def floating(graph: Graph, cut: str = "cut") -> FloatModel:
    return FloatModel(graph, {"cut": cut, **{n: n for n in graph.outputs}}, {})


def outputs_of(parting: Parting, model: MultiTaskModel, feed: Arrays) -> dict[str, Arrays]:
    """Task to its outputs by name, of the segments in turn, joined."""
    parted = with_parts(model, parting.floating.joined)
    cut_model, segments = cut_into_segments(parting.floating.graph, parted.segments, parting.floating.boundaries)
    values = dict(feed)
    for segment, signature in zip(segments, cut_model.signatures, strict=True):
        piece = cut_model.subgraphs[signature.subgraph]
        results = run(piece, {tensor: values[name] for name, tensor in signature.inputs.items()})
        values |= {f"{segment.name}:{name}": results[tensor] for name, tensor in signature.outputs.items()}
        values |= {name: results[tensor] for name, tensor in signature.outputs.items() if name == "cut"}
    answers: dict[str, Arrays] = {}
    for task in parted.tasks:
        own = {n: values.get(f"{task.segments[-1]}:{n}", values.get(n)) for n in task.outputs}
        answers[task.name] = {j.name: j({n: v for n, v in own.items() if v is not None}) for j in task.joined}
    return answers


def test_two_heads_that_share_a_part_each_write_it_under_a_name_of_its_own() -> None:
    b = Finder()
    graph = b.graph(b.concat("one", "boxes", "scores"), b.concat("two", "scores", "boxes"))
    model = multitask(a=("one",), b=("two",))
    parting = part_outputs(model, floating(graph), FEEDS, {})
    first, second = with_parts(model, parting.floating.joined).tasks
    assert first.outputs == ("boxes", "scores") and second.outputs == ("scores/part", "boxes/part")
    for feed in FEEDS:
        answers, wanted = outputs_of(parting, model, feed), run(graph, feed)
        assert np.array_equal(answers["a"]["one"], wanted["one"]) and np.array_equal(answers["b"]["two"], wanted["two"])


def test_a_part_that_is_an_output_or_a_cut_already_keeps_its_name() -> None:
    b = Finder()
    graph = b.graph("scores", b.concat("both", "boxes", "scores", "cut", "cut", size=32))
    model = multitask(a=("scores", "both"))
    parting = part_outputs(model, floating(graph), FEEDS, {})
    made = with_parts(model, parting.floating.joined)
    assert made.tasks[0].outputs == ("scores", "boxes", "cut")
    assert made.segments[1].outputs == ("scores", "boxes"), "the trunk writes the cut"
    answers, wanted = outputs_of(parting, model, FEEDS[0]), run(graph, FEEDS[0])
    assert {n: np.array_equal(v, wanted[n]) for n, v in answers["a"].items()} == {"scores": True, "both": True}
    assert parting.known == {"scores": (0.0, 1.0)}


def test_an_output_of_which_another_one_is_made_is_parted_too() -> None:
    b = Finder()
    graph = b.graph(b.concat("inner", "boxes", "scores"), b.concat("outer", "inner", "scores", size=24))
    model = multitask(a=("inner", "outer"))
    parting = part_outputs(model, floating(graph), FEEDS, {})
    assert with_parts(model, parting.floating.joined).tasks[0].outputs == ("boxes", "scores")
    answers, wanted = outputs_of(parting, model, FEEDS[1]), run(graph, FEEDS[1])
    assert {n: np.array_equal(v, wanted[n]) for n, v in answers["a"].items()} == {"inner": True, "outer": True}


def test_an_output_that_is_a_cut_stays_whole() -> None:
    b = Finder()
    b.concat("both", "boxes", "scores")
    graph = b.graph(b.op("NEG", "other", ["both"], (1, 4, 16)), "both")
    model = multitask(a=("both",), b=("other",))
    far = SegmentSpec("head_b", ("both",), ("other",))
    model = MultiTaskModel(model.model, {}, (*model.segments[:2], far), model.tasks)
    assert part_outputs(model, floating(graph), FEEDS, {}).sentences == ()


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_answers_that_compare_within_one_tensor_keep_one_scale(kind: Kind) -> None:
    b = Finder()
    model = floating(b.graph(b.concat("both", "boxes", "scores")))
    assert part_outputs(multitask(kind, a=("both",)), model, FEEDS, {}).floating is model
    assert part_outputs(multitask("other", a=("both",)), model, FEEDS, {}).floating is not model


def test_without_frames_known_ranges_decide_and_without_both_nothing_does() -> None:
    b = Finder()
    model, tasks = floating(b.graph(b.concat("both", "boxes", "scores"))), multitask(a=("both",))
    assert part_outputs(tasks, model, [], {}).floating is model
    assert part_outputs(tasks, model, [], {"boxes": (0.0, 2.0)}).floating is model
    parting = part_outputs(tasks, model, [], {"boxes": (0.0, 640.0)})
    assert set(parting.floating.joined) == {"both"}
    assert "values of 0 to 640 and of 0 to 1" in parting.sentences[0]


def test_what_is_always_zero_asks_for_no_scale() -> None:
    b = Finder()
    nothing = b.op("MUL", "nothing", ["cut", b.constant("none", 0.0)], (1, 4, 8), fused_activation_function="NONE")
    model = floating(b.graph(b.concat("both", "boxes", nothing)))
    assert part_outputs(multitask(a=("both",)), model, FEEDS, {}).floating is model
