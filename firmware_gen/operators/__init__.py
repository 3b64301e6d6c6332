"""The operators the generator knows, one file each; :data:`OPERATORS` finds them by TFLite name."""

from __future__ import annotations

from multigraft.firmware_gen.operators.arithmetic.add import AddSub
from multigraft.firmware_gen.operators.arithmetic.dequantize import Dequantize
from multigraft.firmware_gen.operators.arithmetic.extremum import Extremum
from multigraft.firmware_gen.operators.arithmetic.hard_swish import HardSwish
from multigraft.firmware_gen.operators.arithmetic.leaky_relu import LeakyRelu
from multigraft.firmware_gen.operators.arithmetic.log_softmax import LogSoftmax
from multigraft.firmware_gen.operators.arithmetic.mul import Mul
from multigraft.firmware_gen.operators.arithmetic.prelu import Prelu
from multigraft.firmware_gen.operators.arithmetic.quantize import Quantize
from multigraft.firmware_gen.operators.arithmetic.relu import Relu
from multigraft.firmware_gen.operators.arithmetic.softmax import Softmax
from multigraft.firmware_gen.operators.arithmetic.squash import Logistic, Tanh
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.binary.conv import LceBconv2d
from multigraft.firmware_gen.operators.binary.pool import LceBMaxPool2d
from multigraft.firmware_gen.operators.binary.values import LceDequantize, LceQuantize
from multigraft.firmware_gen.operators.layout.concatenation import Concatenation
from multigraft.firmware_gen.operators.layout.depth_space import DepthSpace
from multigraft.firmware_gen.operators.layout.gather import Gather
from multigraft.firmware_gen.operators.layout.pack import Pack
from multigraft.firmware_gen.operators.layout.pad import Pad
from multigraft.firmware_gen.operators.layout.reshape import Reshape
from multigraft.firmware_gen.operators.layout.resize_bilinear import ResizeBilinear
from multigraft.firmware_gen.operators.layout.resize_nearest import ResizeNearest
from multigraft.firmware_gen.operators.layout.slice import Slice
from multigraft.firmware_gen.operators.layout.split import Split
from multigraft.firmware_gen.operators.layout.strided_slice import StridedSlice
from multigraft.firmware_gen.operators.layout.transpose import Transpose
from multigraft.firmware_gen.operators.linear.batch_matmul import BatchMatmul
from multigraft.firmware_gen.operators.linear.conv import Conv
from multigraft.firmware_gen.operators.linear.depthwise import Depthwise
from multigraft.firmware_gen.operators.linear.fully_connected import FullyConnected
from multigraft.firmware_gen.operators.linear.transpose_conv import TransposeConv
from multigraft.firmware_gen.operators.pooling.arg_max import ArgMax
from multigraft.firmware_gen.operators.pooling.mean import Mean
from multigraft.firmware_gen.operators.pooling.pool import AVERAGE_POOL, MAX_POOL
from multigraft.firmware_gen.operators.pooling.reduce_extremum import ReduceExtremum
from multigraft.firmware_gen.operators.recurrent.lstm import Lstm
from multigraft.firmware_gen.operators.recurrent.svdf import Svdf
from multigraft.firmware_gen.operators.state.assign_variable import AssignVariable
from multigraft.firmware_gen.operators.state.call_once import CallOnce
from multigraft.firmware_gen.operators.state.read_variable import ReadVariable
from multigraft.firmware_gen.operators.state.var_handle import VarHandle

_ALL: tuple[Operator, ...] = (
    AddSub(),
    ArgMax(),
    AssignVariable(),
    AVERAGE_POOL,
    BatchMatmul(),
    CallOnce(),
    Concatenation(),
    Conv(),
    DepthSpace(),
    Depthwise(),
    Dequantize(),
    Extremum(),
    FullyConnected(),
    Gather(),
    HardSwish(),
    LceBconv2d(),
    LceBMaxPool2d(),
    LceDequantize(),
    LceQuantize(),
    LeakyRelu(),
    Logistic(),
    LogSoftmax(),
    Lstm(),
    MAX_POOL,
    Mean(),
    Mul(),
    Pack(),
    Pad(),
    Prelu(),
    Quantize(),
    ReadVariable(),
    ReduceExtremum(),
    Relu(),
    Reshape(),
    ResizeBilinear(),
    ResizeNearest(),
    Slice(),
    Softmax(),
    Split(),
    StridedSlice(),
    Svdf(),
    Tanh(),
    Transpose(),
    TransposeConv(),
    VarHandle(),
)

OPERATORS: dict[str, Operator] = {name: operator for operator in _ALL for name in operator.names}
"""TFLite operator name to what generates it."""
