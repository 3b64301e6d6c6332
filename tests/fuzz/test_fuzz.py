"""A short form of ``make fuzz``: no graph ends in a wrong answer, a traceback, a crash or a sentence without a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from multigraft.converters.conversion.onnx2tf_environment import Environment
from tests.fuzz.converting import Served
from tests.fuzz.graphs import Graph, graphs
from tests.fuzz.judge import Judge

GRAPHS = 12


@pytest.fixture(scope="module")
def judge(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    judge = Judge(tmp_path_factory.mktemp("fuzz"))
    yield judge
    assert judge.close() == 0


@settings(max_examples=GRAPHS, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck])
@given(graph=graphs())
def test_a_random_graph_is_right_or_refused_by_name(judge: Judge, graph: Graph) -> None:
    verdict = judge(graph)
    assert not verdict.is_bad, f"{verdict.kind}: {verdict.detail}"


def test_the_server_dies_with_its_input(onnx2tf_environment: Environment, tmp_path: Path) -> None:
    server = Served(onnx2tf_environment, tmp_path)
    server.close()
    assert server.has_ended
