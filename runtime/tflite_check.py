"""Bounds check of a .tflite file before an interpreter sees it: tflite-runtime reads a truncated one until it crashes.

Walks the flatbuffer as far as tensors, operators, buffers and signatures are concerned; field numbers are those of
tensorflow/compiler/mlir/lite/schema/schema.fbs. Needs no flatbuffers package.
"""

from __future__ import annotations

import mmap
import struct

from multigraft.errors import InputError

IDENTIFIER = b"TFL3"

# Per table: field number to ("table" | "tables", table), or ("numbers", bytes per number); other fields hold no offset.
_FIELDS: dict[str, dict[int, tuple[str, str | int]]] = {
    "Model": {
        1: ("tables", "OperatorCode"), 2: ("tables", "SubGraph"), 3: ("numbers", 1), 4: ("tables", "Buffer"),
        5: ("numbers", 4), 6: ("tables", "Metadata"), 7: ("tables", "SignatureDef"),
    },
    "OperatorCode": {1: ("numbers", 1)},
    "SubGraph": {
        0: ("tables", "Tensor"), 1: ("numbers", 4), 2: ("numbers", 4), 3: ("tables", "Operator"), 4: ("numbers", 1),
    },
    "Tensor": {0: ("numbers", 4), 3: ("numbers", 1), 4: ("table", "Quantization"), 7: ("numbers", 4)},
    "Quantization": {0: ("numbers", 4), 1: ("numbers", 4), 2: ("numbers", 4), 3: ("numbers", 8)},
    "Operator": {1: ("numbers", 4), 2: ("numbers", 4), 4: ("table", "Options"), 5: ("numbers", 1)},
    "Options": {},
    "Buffer": {0: ("numbers", 1)},
    "Metadata": {0: ("numbers", 1)},
    "SignatureDef": {0: ("tables", "TensorMap"), 1: ("tables", "TensorMap"), 2: ("numbers", 1)},
    "TensorMap": {0: ("numbers", 1)},
}  # fmt: skip


def check_tflite(data: bytes | mmap.mmap, where: str) -> None:
    """Check that everything a .tflite file points to lies within it.

    Args:
        data: The whole file.
        where: What to call it in the message.

    Raises:
        InputError: It is no .tflite file, or is truncated or damaged.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InputError(f"{where} is not a .tflite file", "give a TFLite flatbuffer")
    try:
        _table(data, struct.unpack_from("<I", data, 0)[0], "Model")
    except (struct.error, IndexError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is truncated or damaged", "copy it again or convert it again") from error


def _table(data: bytes | mmap.mmap, position: int, kind: str) -> None:
    fields = position - struct.unpack_from("<i", data, position)[0]
    if fields < 0:
        raise ValueError(fields)
    fields_size, table_size = struct.unpack_from("<HH", data, fields)
    _within(data, fields + fields_size)
    _within(data, position + table_size)
    for field, (what, detail) in _FIELDS[kind].items():
        entry = 4 + 2 * field
        if entry + 2 > fields_size:
            continue
        offset = struct.unpack_from("<H", data, fields + entry)[0]
        if not offset:
            continue
        target = position + offset + struct.unpack_from("<I", data, position + offset)[0]
        if what == "table":
            _table(data, target, str(detail))
            continue
        count = struct.unpack_from("<I", data, target)[0]
        _within(data, target + 4 + count * (4 if what == "tables" else int(detail)))
        if what == "tables":
            for number, step in enumerate(struct.unpack_from(f"<{count}I", data, target + 4)):
                _table(data, target + 4 + 4 * number + step, str(detail))
    if kind == "Buffer" and fields_size >= 10:
        _outside(data, position, *struct.unpack_from("<HH", data, fields + 6))


def _outside(data: bytes | mmap.mmap, position: int, offset_field: int, size_field: int) -> None:
    """Large buffers lie behind the flatbuffer proper, at an offset from the beginning of the file."""
    if offset_field and size_field:
        offset = struct.unpack_from("<Q", data, position + offset_field)[0]
        _within(data, offset + struct.unpack_from("<Q", data, position + size_field)[0])


def _within(data: bytes | mmap.mmap, end: int) -> None:
    if end > len(data):
        raise ValueError(end)
