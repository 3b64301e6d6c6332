"""The one table of ONNX operators that can be converted, and the TFLite operators that each becomes.

Known are those that onnx2tf's direct backend writes as builtin operators, without those whose shapes depend on values,
and those that a rewrite before it takes apart (:mod:`multigraft.converters.conversion.rewrites`).
"""

from __future__ import annotations

import onnx

from multigraft.converters.importing.node_names import label
from multigraft.errors import UnsupportedOperatorError

_SAME_NAME = """
Abs Add ArgMax ArgMin Cast Ceil Cos CumSum DepthToSpace Div Elu Equal Exp Floor Gather Gelu Greater HardSwish
LeakyRelu Less Log Mul Neg PRelu Pad Pow Relu Reshape Round Shape Sign Sin Softmax SpaceToDepth Split Sqrt Squeeze Sub
Sum Tanh Tile Transpose Where
"""

_BECOMES = """
Acos: DIV SUB SQRT ATAN2
Acosh: LOG SQRT MUL ADD
AffineGrid: BATCH_MATMUL
And: LOGICAL_AND
Asin: DIV SUB SQRT ATAN2
Asinh: LOG SQRT MUL ADD
Atan: ATAN2
Atanh: LOG SUB DIV
Attention: BATCH_MATMUL SOFTMAX MUL RESHAPE TRANSPOSE
AveragePool: AVERAGE_POOL_2D
BatchNormalization: MUL ADD
BlackmanWindow:
CastLike: CAST
CausalConvWithState: CONV_2D CONCATENATION
Celu: MAXIMUM MINIMUM EXP
CenterCropPad: SLICE PAD
Clip: RELU6 MAXIMUM MINIMUM
Col2Im: RESHAPE TRANSPOSE
Compress: GATHER
Concat: CONCATENATION
Constant:
ConstantOfShape:
Conv: CONV_2D
ConvTranspose: TRANSPOSE_CONV
Cosh: EXP ADD MUL
CumProd: MUL
DFT: BATCH_MATMUL
DeformConv: GATHER_ND MUL ADD FULLY_CONNECTED
Det: MUL SUB
Dropout:
Einsum: BATCH_MATMUL TRANSPOSE RESHAPE
Erf: EXP MUL ADD
Expand: BROADCAST_TO
EyeLike:
Flatten: RESHAPE
FusedConv: CONV_2D
FusedMatMul: BATCH_MATMUL
GRU: FULLY_CONNECTED SPLIT LOGISTIC TANH MUL ADD
GatherElements: GATHER_ND
GatherND: GATHER_ND
Gemm: FULLY_CONNECTED
GlobalAveragePool: MEAN
GlobalLpPool: ABS POW SUM
GlobalMaxPool: REDUCE_MAX
GreaterOrEqual: GREATER_EQUAL
GridSample: GATHER_ND MUL ADD
GroupNormalization: RESHAPE MEAN SQUARED_DIFFERENCE RSQRT MUL ADD
HammingWindow:
HannWindow:
HardSigmoid: MUL ADD MAXIMUM MINIMUM
Hardmax: ARG_MAX ONE_HOT
Identity:
If:
InstanceNormalization: MEAN SQUARED_DIFFERENCE RSQRT MUL ADD
Inverse: MUL SUB DIV
IsInf: EQUAL
IsNaN: NOT_EQUAL
LRN: LOCAL_RESPONSE_NORMALIZATION
LSTM: FULLY_CONNECTED SPLIT LOGISTIC TANH MUL ADD
LinearAttention: BATCH_MATMUL EXP MUL ADD
LayerNormalization: MEAN SQUARED_DIFFERENCE RSQRT MUL ADD
LessOrEqual: LESS_EQUAL
LogSoftmax: LOG_SOFTMAX
Loop:
LpNormalization: ABS SUM DIV
LpPool: ABS POW AVERAGE_POOL_2D MUL
MatMul: BATCH_MATMUL
Max: MAXIMUM
MaxPool: MAX_POOL_2D
Mean: ADD MUL
MaxUnpool: SCATTER_ND
MeanVarianceNormalization: MEAN SQUARED_DIFFERENCE RSQRT MUL
MelWeightMatrix:
Min: MINIMUM
Mish: EXP LOG TANH MUL
Mod: FLOOR_MOD
NegativeLogLikelihoodLoss: GATHER_ND MUL SUM DIV
Not: LOGICAL_NOT
OneHot: ONE_HOT
Or: LOGICAL_OR
Range: RANGE
RMSNormalization: MUL MEAN RSQRT
RNN: FULLY_CONNECTED SPLIT TANH ADD
Reciprocal: DIV
ReduceL1: ABS SUM
ReduceL2: MUL SUM SQRT
ReduceLogSum: SUM LOG
ReduceLogSumExp: EXP SUM LOG
ReduceMax: REDUCE_MAX
ReduceMean: MEAN
ReduceMin: REDUCE_MIN
ReduceProd: REDUCE_PROD
ReduceSum: SUM
ReduceSumSquare: MUL SUM
Resize: RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
ReverseSequence: REVERSE_SEQUENCE
RotaryEmbedding: SPLIT MUL ADD SUB CONCATENATION
RoiAlign: GATHER_ND MUL ADD
STFT: BATCH_MATMUL
Scan:
ScatterElements: SCATTER_ND
ScatterND: SCATTER_ND
Scatter: SCATTER_ND
Selu: EXP MAXIMUM MINIMUM MUL
Shrink: SELECT_V2 SUB ADD
Sigmoid: LOGISTIC
Sinh: EXP SUB MUL
Size: SHAPE
Slice: STRIDED_SLICE
SoftmaxCrossEntropyLoss: LOG_SOFTMAX GATHER_ND MUL SUM DIV
Softplus: EXP ADD LOG
Softsign: ABS ADD DIV
Swish: LOGISTIC MUL
SwiGLU: LOGISTIC MUL
Tan: SIN COS DIV
TensorScatter: SCATTER_ND
ThresholdedRelu: GREATER MUL
TopK: TOPK_V2
Trilu: MUL
Unsqueeze: RESHAPE
Upsample: RESIZE_NEAREST_NEIGHBOR
Xor: NOT_EQUAL
"""

_TFLITE_NAMES = {
    "ArgMax": "ARG_MAX",
    "ArgMin": "ARG_MIN",
    "CumSum": "CUMSUM",
    "DepthToSpace": "DEPTH_TO_SPACE",
    "HardSwish": "HARD_SWISH",
    "LeakyRelu": "LEAKY_RELU",
    "SpaceToDepth": "SPACE_TO_DEPTH",
    "Sum": "ADD",
    "Where": "SELECT_V2",
}

BECOMES: dict[str, tuple[str, ...]] = {n: (_TFLITE_NAMES.get(n, n.upper()),) for n in _SAME_NAME.split()} | {
    name: tuple(becomes.split()) for name, _, becomes in (line.partition(":") for line in _BECOMES.strip().splitlines())
}
"""ONNX operator to the TFLite operators that it becomes; none where a constant, or nothing, is left of it."""

INT8_OPERATORS = frozenset(
    """
    ADD AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CONCATENATION CONV_2D DEPTHWISE_CONV_2D DIV DYNAMIC_UPDATE_SLICE EQUAL
    FULLY_CONNECTED GATHER GATHER_ND GELU HARD_SWISH LOGISTIC MAXIMUM MAX_POOL_2D MEAN MIRROR_PAD MUL NOT_EQUAL PACK PAD
    PADV2 REDUCE_MIN RELU RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SLICE SOFTMAX
    SPACE_TO_DEPTH SPLIT SQRT SQUARED_DIFFERENCE STABLEHLO_COMPOSITE STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
    UNPACK
    """.split()  # noqa: SIM905 - a list of fifty names is no easier to read
)
"""TFLite operators that the quantiser makes int8; the others stay float32, or come between two conversions."""


def tflite_operators(node: onnx.NodeProto) -> tuple[str, ...] | None:
    """What ``node`` becomes; None if it cannot be converted."""
    if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute):
        return ("DEPTHWISE_CONV_2D",)
    return BECOMES.get(node.op_type)


def refuse_unknown(model: onnx.ModelProto, where: str) -> None:
    """Check that every operator can be converted.

    Args:
        model: A clean graph.
        where: File name, for the message.

    Raises:
        UnsupportedOperatorError: One cannot; the message names the node.
    """
    for node in model.graph.node:
        refuse_unknown_node(node, where)


def refuse_unknown_node(node: onnx.NodeProto, where: str) -> None:
    """Check that one node can be converted.

    Raises:
        UnsupportedOperatorError: It cannot; the message names it.
    """
    if tflite_operators(node) is None:
        raise UnsupportedOperatorError(
            f"{where}: {label(node)} cannot be converted to TFLite", "replace it, or end the network before it"
        )
