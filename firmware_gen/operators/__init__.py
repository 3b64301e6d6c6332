"""The operators the generator knows, one file each; :data:`OPERATORS` finds them by TFLite name."""

from __future__ import annotations

from multigraft.firmware_gen.kernel import Operator
from multigraft.firmware_gen.operators.add import AddSub
from multigraft.firmware_gen.operators.assign_variable import AssignVariable
from multigraft.firmware_gen.operators.call_once import CallOnce
from multigraft.firmware_gen.operators.concatenation import Concatenation
from multigraft.firmware_gen.operators.conv import Conv
from multigraft.firmware_gen.operators.depthwise import Depthwise
from multigraft.firmware_gen.operators.dequantize import Dequantize
from multigraft.firmware_gen.operators.fully_connected import FullyConnected
from multigraft.firmware_gen.operators.mean import Mean
from multigraft.firmware_gen.operators.mul import Mul
from multigraft.firmware_gen.operators.pad import Pad
from multigraft.firmware_gen.operators.pool import AveragePool, MaxPool
from multigraft.firmware_gen.operators.quantize import Quantize
from multigraft.firmware_gen.operators.read_variable import ReadVariable
from multigraft.firmware_gen.operators.reshape import Reshape
from multigraft.firmware_gen.operators.resize_nearest import ResizeNearest
from multigraft.firmware_gen.operators.softmax import Softmax
from multigraft.firmware_gen.operators.strided_slice import StridedSlice
from multigraft.firmware_gen.operators.transpose import Transpose
from multigraft.firmware_gen.operators.transpose_conv import TransposeConv
from multigraft.firmware_gen.operators.unary import Unary
from multigraft.firmware_gen.operators.var_handle import VarHandle

_ALL: tuple[Operator, ...] = (
    AddSub(),
    AssignVariable(),
    AveragePool(),
    CallOnce(),
    Concatenation(),
    Conv(),
    Depthwise(),
    Dequantize(),
    FullyConnected(),
    MaxPool(),
    Mean(),
    Mul(),
    Pad(),
    Quantize(),
    ReadVariable(),
    Reshape(),
    ResizeNearest(),
    Softmax(),
    StridedSlice(),
    Transpose(),
    TransposeConv(),
    Unary(),
    VarHandle(),
)

OPERATORS: dict[str, Operator] = {name: operator for operator in _ALL for name in operator.names}
"""TFLite operator name to what generates it."""
