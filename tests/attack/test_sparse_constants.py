"""Sparse constants whose rows lie are refused before an interpreter follows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from multigraft.errors import InputError
from multigraft.tflite import tflite_file
from multigraft.tflite.checking.check import check_tflite
from tests.attack.test_tflite_mutants import packed, refusal, tensor
from tests.attack.tflite_seeds import sparse, sparse_values


def rows(model: Any) -> Any:
    return tensor(model, b"stored").sparsity.dimMetadata[-1]


def segments(*changes: tuple[int, int]) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        held = rows(model).arraySegments
        held.values = list(held.values)
        for place, value in changes:
            held.values[place] = value

    return change


def index(place: int, value: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        held = rows(model).arrayIndices
        held.values = list(held.values)
        held.values[place] = value

    return change


def of_sparsity(field: str, value: object) -> Callable[[Any], None]:
    return lambda model: setattr(tensor(model, b"stored").sparsity, field, value)


def more_values(model: Any) -> None:
    buffer = model.buffers[tensor(model, b"stored").buffer]
    buffer.data = np.concatenate([buffer.data, np.zeros(2, np.uint8)])


def read_by_another(model: Any) -> None:
    """DEQUANTIZE takes the sparse weights themselves."""
    graph = model.subgraphs[0]
    graph.operators[1].inputs = graph.operators[0].inputs


def not_sparse(model: Any) -> None:
    held = tensor(model, b"stored")
    held.sparsity = None
    model.buffers[held.buffer].data = np.zeros(2 * 40, np.uint8)


def other_size(model: Any) -> None:
    tensor(model, b"stored").sparsity.dimMetadata[0].denseSize = 9


def all_dense(model: Any) -> None:
    rows(model).format = 0


CONTRADICTIONS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a row that ends behind the last element": (segments((-1, 200)), "rows do not fit"),
    "a row that begins behind the first": (segments((0, 1)), "rows do not fit"),
    "rows in another order": (segments((1, 9), (2, 0)), "not in order"),
    "an element outside of its row": (index(0, 5), "outside of its row"),
    "more values than elements": (more_values, "its content has"),
    "blocks": (of_sparsity("blockMap", [0]), "form that is not known"),
    "dimensions in another order": (of_sparsity("traversalOrder", [0, 2, 1, 3]), "form that is not known"),
    "dimensions of another size": (other_size, "form that is not known"),
    "all of them dense": (all_dense, "form that is not known"),
    "an operator that does not know of it": (read_by_another, "stored otherwise"),
    "DENSIFY of what is dense": (not_sparse, "stored otherwise"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_rows_that_lie_are_named(name: str) -> None:
    change, says = CONTRADICTIONS[name]
    model = schema.ModelT.InitFromPackedBuf(sparse(), 0)
    change(model)
    assert says in refusal(packed(model))


def test_sparse_weights_are_read_whole() -> None:
    check_tflite(sparse(), "it")
    held = tflite_file.read(sparse()).main.tensors["stored"]
    assert held.data is not None and np.array_equal(held.data, sparse_values())


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    data = sparse()
    for size in range(8, len(data) - 64, 16):
        with pytest.raises(InputError):
            check_tflite(data[:size], "cut")
