"""Whether an interpreter can be given a .tflite file: they look at few of the numbers that they follow, and crash.

What is promised: nothing lies outside the file; every number that refers to something refers to it; constants are as
long as their shapes say; no operator reads what was not written before, or writes what others gave; every operator has
the tensors and options of its kind; and tensors have the shapes and scales that the kernels will work with. The work is
linear in the file's size. Needs no flatbuffers package.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator, Sequence

from multigraft.errors import InputError
from multigraft.tflite.checking.binary import check_binary
from multigraft.tflite.checking.contents import Contents, Operator, Subgraph, read
from multigraft.tflite.checking.demands import check_counts, check_sparse
from multigraft.tflite.checking.flatbuffer import DamagedError
from multigraft.tflite.checking.rules import ContradictionError
from multigraft.tflite.checking.scales import check_scales
from multigraft.tflite.checking.shapes import output_shapes
from multigraft.tflite.checking.types import check_types
from multigraft.tflite.operators import OPERATORS

IDENTIFIER = b"TFL3"
_INTEGERS = {"int32": "i", "int64": "q"}
_MOST_PARAMETERS = 1 << 16


def check_tflite(data: bytes | mmap.mmap, where: str, is_optimised: bool = True) -> frozenset[str]:
    """Check that an interpreter can follow everything that a .tflite file says.

    Args:
        data: The whole file.
        where: What to call it in the message.
        is_optimised: The interpreters' optimised kernels will run it; False for the reference kernels and firmware.

    Returns:
        Names of the custom operators in it, which take a delegate.

    Raises:
        InputError: It is no .tflite file, is truncated or damaged, or contradicts itself.
    """
    with _sentences(where):
        contents = _contents(data, where)
        for subgraph in contents.subgraphs:
            _check_order(subgraph)
            for operator in subgraph.operators:
                _check_operator(contents, operator, is_optimised)
        _check_calls(contents.subgraphs)
        return frozenset(op.name for subgraph in contents.subgraphs for op in subgraph.operators if op.is_custom)


def check_structure(data: bytes | mmap.mmap, where: str) -> None:
    """Check that nothing in a .tflite file lies outside of it, and that what refers to something refers to it.

    What the operators ask of their tensors is not looked at: firmware has demands of its own, and says them better.

    Args:
        data: The whole file.
        where: What to call it in the message.

    Raises:
        InputError: It is no .tflite file, or is truncated or damaged.
    """
    with _sentences(where):
        _contents(data, where)


def _contents(data: bytes | mmap.mmap, where: str) -> Contents:
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InputError(f"{where} is not a .tflite file", "give a TFLite flatbuffer")
    return read(data)


@contextlib.contextmanager
def _sentences(where: str) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        raise InputError(f"{where} is truncated or damaged: {error}", "copy it again or convert it again") from error
    except (struct.error, OverflowError) as error:
        raise InputError(f"{where} is truncated or damaged", "copy it again or convert it again") from error


def _check_order(subgraph: Subgraph) -> None:
    """Everything is written once, and before it is read."""
    ready = {t.number for t in subgraph.tensors if t.is_constant or t.is_variable}
    given = set(subgraph.inputs)
    if given & ready:
        raise DamagedError("an input of a subgraph is a constant")
    ready |= given
    for tensor in subgraph.tensors:
        if not tensor.buffer.size and not tensor.is_variable and 0 in tensor.shape and tensor.number in given:
            raise DamagedError(f"tensor {tensor.number} has no element")
    for operator in subgraph.operators:
        for source in operator.inputs:
            if source is not None and source.number not in ready:
                raise DamagedError(f"a {operator.name} reads tensor {source.number} before anything wrote it")
        for output in operator.outputs:
            if output.number in ready:
                raise DamagedError(f"a {operator.name} writes tensor {output.number}, which has a value already")
            if 0 in output.shape:
                raise DamagedError(f"tensor {output.number} has no element")
            ready.add(output.number)
    if not set(subgraph.outputs) <= ready:
        raise DamagedError("an output of a subgraph is written by nothing")


def _check_operator(contents: Contents, operator: Operator, is_optimised: bool) -> None:
    check_counts(operator, "" if operator.is_custom else OPERATORS[operator.name][1], is_optimised)
    check_binary(operator)
    check_types(operator)
    check_scales(operator)
    check_sparse(operator)

    def constants(place: int) -> Sequence[int]:
        tensor = operator.inputs[place]
        if tensor is None or tensor.dtype not in _INTEGERS or not tensor.is_constant:
            raise DamagedError(f"a {operator.name} takes its parameters from what is computed")
        kind = _INTEGERS[tensor.dtype]
        count = tensor.buffer.size // struct.calcsize(f"<{kind}")
        if count > _MOST_PARAMETERS:
            raise DamagedError(f"a {operator.name} has {count} parameters")
        contents.source.spend(tensor.buffer.size)
        return struct.unpack_from(f"<{count}{kind}", contents.source.data, tensor.buffer.position)

    try:
        shapes = output_shapes(operator, constants)
    except ContradictionError:
        described = ", ".join("absent" if t is None else str(list(t.shape)) for t in operator.inputs[:8])
        raise DamagedError(f"a {operator.name} cannot work on shapes {described} with its options") from None
    for output, shape in zip(operator.outputs, shapes or (), strict=False):
        if output.shape != shape:
            said, given = list(output.shape), list(shape)
            raise DamagedError(f"tensor {output.number} is said to be {said}, and its {operator.name} gives {given}")


def _check_calls(subgraphs: tuple[Subgraph, ...]) -> None:
    """A subgraph that CALL_ONCE runs is there, and runs no other: so none runs itself."""
    calls = [{op.options.get(0, 0) for op in s.operators if op.name == "CALL_ONCE"} for s in subgraphs]
    for called in calls:
        for number in called:
            if not 0 < number < len(subgraphs):
                raise DamagedError(f"CALL_ONCE calls subgraph {number}, which is not there")
            if calls[number]:
                raise DamagedError(f"CALL_ONCE calls subgraph {number}, which calls others")
