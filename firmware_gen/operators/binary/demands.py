"""What the binary operators have in common: their options, and the demands of all."""

from __future__ import annotations

from multigraft.firmware_gen.operators.base.constraints import is_int8
from multigraft.firmware_gen.program.program import Node
from multigraft.tflite.checking.flexbuffer import whole_numbers
from multigraft.tflite.graph import Tensor

HEADERS = ("real.h", "binary.h")


def options_of(node: Node) -> dict[str, int]:
    """The operator's options; the file's check has made sure of them."""
    return whole_numbers(node.op.custom_options)


def is_value(tensor: Tensor) -> bool:
    """int8 with one scale, or float32."""
    return is_int8(tensor) or (tensor.dtype == "float32" and len(tensor.shape) > 0)
