"""Every operator of a float .tflite file computes in onnxruntime what the interpreter computes with the file."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.converters.conversion.interpreters import Runner
from multigraft.converters.importing.tflite.layouts import to_first
from multigraft.converters.importing.tflite.loading import load
from multigraft.converters.importing.tflite.operators import KNOWN
from multigraft.converters.importing.tflite.reader import read_tflite
from multigraft.converters.importing.tflite.translate import translate
from multigraft.converters.network.network import session_of
from tests.converters.importing.tflite.cases import CASES
from tests.converters.importing.tflite.graphs import Sketch

TOLERANCE = 1e-4


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_the_same(name: str, tmp_path: Path) -> None:
    sketch = Sketch()
    output = CASES[name](sketch)
    content = sketch.file(output)
    path = tmp_path / "network.tflite"
    path.write_bytes(content)
    network = load(path)
    made = translate(network.graph, str(path))
    rng = np.random.default_rng(1)
    x = rng.normal(size=network.graph.tensors[sketch.inputs[0]].shape).astype(np.float32)
    expected = Runner(content)({sketch.inputs[0]: x})[output]
    session = session_of(made.model, name)
    fed = x.transpose(to_first(4)) if made.inputs == ("first",) else x
    found: Any = session.run(None, {made.model.graph.input[0].name: fed})[0]
    if made.outputs == ("first",):
        expected = expected.transpose(to_first(4))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= TOLERANCE * max(np.abs(expected).max(), 1e-3)


def test_every_operator_of_the_table_has_a_case() -> None:
    held = set()
    for case in CASES.values():
        sketch = Sketch()
        case(sketch)
        held |= {op.name for op in sketch.ops}
    assert KNOWN - held == {"LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "SELECT"}


@pytest.mark.parametrize(
    ("name", "transposes"),
    [("EXPAND_DIMS, SQUEEZE", 3), ("ADD", 0), ("FULLY_CONNECTED flat", 0), ("PAD", 0), ("RESHAPE", 2),
     ("TRANSPOSE of a file with channels first", 0), ("CONV_2D after PAD", 0)],
)  # fmt: skip
def test_layers_see_channels_first_without_transposes_between_them(name: str, transposes: int, tmp_path: Path) -> None:
    sketch = Sketch()
    path = tmp_path / "network.tflite"
    path.write_bytes(sketch.file(CASES[name](sketch)))
    kinds = collections.Counter(node.op_type for node in read_tflite(path).graph.node)
    assert kinds["Transpose"] == transposes
    assert kinds["Pad"] == (name == "PAD")
