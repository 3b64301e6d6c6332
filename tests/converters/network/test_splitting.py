"""A segment ends where the user says, at tensors that all paths pass through."""

from __future__ import annotations

import pytest

from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.converters.network.network import Network
from multigraft.converters.network.splitting import split_at, split_points
from multigraft.converters.standing import alone
from multigraft.errors import UsageError
from multigraft.tensors.preprocessing import Preprocessing
from tests.converters.onnx_builder import OnnxBuilder


def graph() -> MultiTaskModel:
    """A stem, a residual block, a classifier."""
    b = OnnxBuilder()
    stem = b.conv_relu("stem", b.input("image", 3, 8, 8), 4)
    branch = b.conv("branch", b.conv_relu("inner", stem, 4), 4)
    joined = b.add("Relu", "joined", b.add("Add", "sum", branch, stem))
    model = b.model(b.classifier("out", joined, 3))
    return alone(Network("task", model, Preprocessing(8, 8)))


def test_points_lie_where_all_paths_meet() -> None:
    whole = graph()
    points = split_points(whole, whole.segments[0])
    assert points == ["task/stem", "task/joined", "task/out.pool", "task/out.flat"]


def test_a_split_segment_is_two_that_every_task_needs() -> None:
    split = split_at(split_at(graph(), "stem"), "task/joined")
    names = [segment.name for segment in split.segments]
    assert names == list(split.tasks[0].segments)
    assert [s.outputs for s in split.segments][:2] == [("task/stem",), ("task/joined",)]
    assert [s.inputs for s in split.segments] == [("task/image",), ("task/stem",), ("task/joined",)]


@pytest.mark.parametrize("tensor", ["inner", "sum", "nothing", "image", "out"])
def test_elsewhere_it_is_refused_and_the_points_are_listed(tensor: str) -> None:
    with pytest.raises(UsageError, match="task/stem, task/joined"):
        split_at(graph(), tensor)
