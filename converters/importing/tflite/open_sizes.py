"""A .tflite file that leaves the size of its input open, at one size: every tensor gets the shape that it has there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from multigraft.errors import InputError

_SHAPE, _SIGNATURE = 4, 18
"""Where the table of a tensor holds them (schema.fbs: its first and eighth field)."""

SECONDS = 120
"""For starting Python and one run with zeros."""

_REMEDY = "convert it with a fixed input size"


def open_size(content: bytes) -> tuple[str, tuple[int, ...]] | None:
    """Name and sizes of the first input that leaves one open behind its batch, -1 for those; None if all are fixed."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    for i in range(graph.InputsLength()):
        tensor = graph.Tensors(graph.Inputs(i))
        sizes = tuple(int(tensor.ShapeSignature(k)) for k in range(tensor.ShapeSignatureLength()))
        if -1 in sizes[1:]:
            return tensor.Name().decode(), sizes
    return None


def refuse_open_size(content: bytes, where: str) -> None:
    """Shapes in such a file are those of one choice; only a batch that is open is known to be 1.

    Raises:
        InputError: It leaves the size of its input open.
    """
    found = open_size(content)
    if found is not None:
        shown = " x ".join("?" if s < 0 else str(s) for s in found[1])
        raise InputError(
            f"{where} leaves the size of its input {found[0]} open ({shown})", f"give its preprocessing, or {_REMEDY}"
        )


def at_size(content: bytes, shape: Sequence[int], where: str) -> bytes:
    """The file with its one input, and all that follows from it, at ``shape``.

    Args:
        content: A .tflite file whose structure was checked.
        shape: Of the input, without its batch, in the order of the file.
        where: File name, for messages.

    Raises:
        InputError: It has several inputs, does not take that shape, or changes the rank of a tensor with it.
    """
    wanted = (1, *shape)
    sizes = (open_size(content) or ("", ()))[1]
    if len(sizes) != len(wanted) or any(s not in (-1, w) for s, w in zip(sizes[1:], wanted[1:], strict=True)):
        takes, makes = (" x ".join("any" if s < 0 else str(s) for s in given) for given in (sizes[1:], shape))
        raise InputError(f"{where} takes {takes} and its preprocessing makes {makes}", "correct its preprocessing")
    # What its operators make of their tensors cannot be checked before there are shapes: another process may end.
    # -P: a file called like a module in the working folder must not be imported instead of it.
    command = [sys.executable, "-P", "-m", "multigraft.converters.importing.tflite.open_sizes", *map(str, wanted)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{where} does not end at {' x '.join(map(str, wanted))}", _REMEDY) from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
        raise InputError(f"{where} does not run at {' x '.join(map(str, wanted))} ({reason[0][:200]})", _REMEDY)
    shapes = [tuple(s) for s in json.loads(done.stdout)]
    changed = bytearray(content)
    for tensor, new in zip(_tensors(changed), shapes, strict=True):
        _write(changed, tensor, new, where)
    if [tuple(_shape(t)) for t in _tensors(changed)] != shapes:
        raise InputError(f"{where} keeps several shapes in one place, so that its size cannot be set", _REMEDY)
    return bytes(changed)


def main(arguments: Sequence[str]) -> None:
    """Print the shape of every tensor of the file on standard input, whose one input has this shape."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    content = sys.stdin.buffer.read()
    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kind)
    (source,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(source["index"], [int(a) for a in arguments])
    interpreter.allocate_tensors()
    interpreter.invoke()
    shapes = {d["index"]: [int(s) for s in d["shape"]] for d in interpreter.get_tensor_details()}
    print(json.dumps([shapes[i] for i in range(len(_tensors(content)))]))


def _tensors(content: bytes | bytearray) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    return [graph.Tensors(i) for i in range(graph.TensorsLength())]


def _shape(tensor: Any) -> list[int]:
    return [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]


def _write(content: bytearray, tensor: Any, shape: Sequence[int], where: str) -> None:
    """Set a tensor's shape and its signature in the place where they lie: vectors of int32, little-endian."""
    if tensor.ShapeLength() != len(shape):
        raise InputError(f"{where}: {tensor.Name().decode()} has another rank at another size", _REMEDY)
    for slot, length in ((_SHAPE, tensor.ShapeLength()), (_SIGNATURE, tensor.ShapeSignatureLength())):
        offset = tensor._tab.Offset(slot)
        if not offset or length != len(shape):
            continue
        start = tensor._tab.Vector(offset)
        for i, size in enumerate(shape):
            content[start + 4 * i : start + 4 * i + 4] = int(size).to_bytes(4, "little", signed=True)


if __name__ == "__main__":
    main(sys.argv[1:])
