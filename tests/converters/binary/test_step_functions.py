"""Signs in whatever operators an exporter wrote them, found by what they compute."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from multigraft.converters.binary.step_functions import NoStep, Step, find_step

NUMBERS = {"zero": 0.0, "one": 1.0, "minus": -1.0, "two": 2.0, "half": 0.5, "tenth": 0.1}
Nodes = list[tuple[Any, ...]]

COMPARED: Nodes = [("GreaterOrEqual", "c", "x", "zero"), ("Where", "y", "c", "one", "minus")]
CAST: Nodes = [("GreaterOrEqual", "c", "x", "zero"), ("Cast", "f", "c", 1)]
FORMS: dict[str, Nodes] = {
    "sign of sign": [("Sign", "a", "x"), ("Add", "b", "a", "tenth"), ("Sign", "y", "b")],
    "where": COMPARED,
    "where of less": [("Less", "c", "x", "zero"), ("Where", "y", "c", "minus", "one")],
    "twice a cast, minus 1": [*CAST, ("Mul", "g", "f", "two"), ("Sub", "y", "g", "one")],
    "cast minus a half, twice": [*CAST, ("Sub", "g", "f", "half"), ("Mul", "y", "g", "two")],
    "behind a clip": [
        ("Clip", "k", "x", "minus", "one"),
        ("GreaterOrEqual", "c", "k", "zero"),
        ("Where", "y", "c", "one", "minus"),
    ],
    "not less": [("Less", "l", "x", "zero"), ("Not", "c", "l"), ("Where", "y", "c", "one", "minus")],
}


def found(nodes: Nodes, numbers: dict[str, float] = NUMBERS) -> Step | NoStep:
    to_float: dict[str, Any] = {"to": 1}
    made = [
        helper.make_node(
            kind, [i for i in inputs if isinstance(i, str)], [name], **(to_float if kind == "Cast" else {})
        )
        for kind, name, *inputs in nodes
    ]
    held = {name: np.array(value, np.float32) for name, value in numbers.items()}
    writers: dict[str, onnx.NodeProto] = {node.output[0]: node for node in made}
    return find_step("y", writers, held, {node.output[0]: i for i, node in enumerate(made)}, 17)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_sign_is_one_of_the_input(form: str) -> None:
    assert found(FORMS[form]) == Step("x", 0.0, 1.0)


def test_a_straight_through_estimator_leaves_its_clip_behind() -> None:
    nodes = [("Clip", "k", "x", "minus", "one"), ("Sign", "s", "x"), ("Sub", "d", "s", "k"), ("Add", "y", "d", "k")]
    step = found(nodes)
    assert isinstance(step, Step) and (step.source, step.place, step.is_zero_there) == ("x", 0.0, True)


def test_where_the_sign_of_0_is_minus_1_it_is_turned() -> None:
    above = found([("Greater", "c", "x", "zero"), ("Where", "y", "c", "one", "minus")])
    assert above == Step("x", 0.0, -1.0, is_turned=True)
    below = found([("Greater", "c", "x", "zero"), ("Where", "y", "c", "minus", "one")])
    assert below == Step("x", 0.0, 1.0, is_turned=True)


def test_a_place_beside_0_is_found_to_the_last_bit() -> None:
    numbers = {**NUMBERS, "zero": 0.3}
    at_least = found(COMPARED, numbers)
    assert isinstance(at_least, Step) and at_least.place == np.float32(0.3)
    above = found([("Greater", "c", "x", "zero"), ("Where", "y", "c", "one", "minus")], numbers)
    assert isinstance(above, Step) and above.place == np.nextafter(np.float32(0.3), np.float32(1))


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([("GreaterOrEqual", "c", "x", "zero"), ("Cast", "y", "c", 1)], "takes the values 0, 1"),
        ([("Round", "r", "x"), ("Clip", "y", "r", "minus", "one")], "takes the values -1, 0, 1"),
        ([("Relu", "y", "x")], "^$"),
        ([("Clip", "y", "x", "minus", "one")], "^$"),
    ],
    ids=["bits", "ternary", "relu", "clip"],
)
def test_other_functions_are_none(nodes: Nodes, why: str) -> None:
    judged = found(nodes)
    assert isinstance(judged, NoStep) and re.search(why, judged.why)


def test_a_factor_for_each_channel_ends_the_search() -> None:
    made = [helper.make_node("Add", ["x", "shift"], ["z"]), helper.make_node("Sign", ["z"], ["y"])]
    shift = numpy_helper.to_array(numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)))
    step = find_step("y", {n.output[0]: n for n in made}, {"shift": shift}, {"z": 0, "y": 1}, 17)
    assert isinstance(step, Step) and step.source == "z"
