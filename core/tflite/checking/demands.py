"""How many inputs and outputs each operator takes, and which inputs may be absent: kernels read them without looking.

Source: the kernels' ``Prepare`` functions in tensorflow/lite/kernels.
"""

from __future__ import annotations

from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.flatbuffer import DamagedError
from multigraft.tflite.operators import BINARY

_MANY = 1 << 16

_UNARY = (
    "DEQUANTIZE FLOOR L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION LOGISTIC RELU RELU_N1_TO_1 RELU6 SOFTMAX "
    "SPACE_TO_DEPTH DEPTH_TO_SPACE TANH EXP LOG_SOFTMAX CAST NEG SIN LOG SQRT RSQRT SHAPE LOGICAL_NOT SQUARE "
    "ZEROS_LIKE LEAKY_RELU ABS CEIL COS RANK ELU QUANTIZE ROUND HARD_SWISH IMAG REAL COMPLEX_ABS GELU RELU_0_TO_1 "
    "SIGN BITCAST AVERAGE_POOL_2D L2_POOL_2D MAX_POOL_2D FAKE_QUANT SQUEEZE BUCKETIZE MATRIX_DIAG WHERE DENSIFY"
)
_BINARY = (
    "ADD MUL SUB DIV PRELU MAXIMUM MINIMUM LESS GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL POW LOGICAL_OR "
    "LOGICAL_AND FLOOR_DIV FLOOR_MOD SQUARED_DIFFERENCE ATAN2 BITWISE_XOR RIGHT_SHIFT RESIZE_BILINEAR "
    "RESIZE_NEAREST_NEIGHBOR PAD GATHER TRANSPOSE MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL "
    "ARG_MAX ARG_MIN TILE EXPAND_DIMS FILL MIRROR_PAD REVERSE_V2 GATHER_ND BATCH_MATMUL CUMSUM BROADCAST_TO "
    "BROADCAST_ARGS SEGMENT_SUM RFFT2D MATRIX_SET_DIAG EMBEDDING_LOOKUP"
)
_TERNARY = (
    "BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND PADV2 SELECT SELECT_V2 SLICE RANGE SCATTER_ND DYNAMIC_UPDATE_SLICE "
    "UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM UNSORTED_SEGMENT_MIN"
)
COUNTS: dict[str, tuple[int, int, int, int]] = {
    **dict.fromkeys(_UNARY.split(), (1, 1, 1, 1)),
    **dict.fromkeys(_BINARY.split(), (2, 2, 1, 1)),
    **dict.fromkeys(_TERNARY.split(), (3, 3, 1, 1)),
    "CONV_2D": (2, 3, 1, 1),
    "DEPTHWISE_CONV_2D": (2, 3, 1, 1),
    "FULLY_CONNECTED": (2, 3, 1, 1),
    "TRANSPOSE_CONV": (3, 4, 1, 1),
    "CONV_3D": (2, 3, 1, 1),
    "CONV_3D_TRANSPOSE": (3, 4, 1, 1),
    "CONCATENATION": (1, _MANY, 1, 1),
    "ADD_N": (1, _MANY, 1, 1),
    "PACK": (1, _MANY, 1, 1),
    "UNPACK": (1, 1, 1, _MANY),
    "RESHAPE": (1, 2, 1, 1),
    "STRIDED_SLICE": (4, 4, 1, 1),
    "ONE_HOT": (4, 4, 1, 1),
    "SPARSE_TO_DENSE": (4, 4, 1, 1),
    "SPLIT": (2, 2, 1, _MANY),
    "SPLIT_V": (3, 3, 1, _MANY),
    "TOPK_V2": (2, 2, 2, 2),
    "UNIQUE": (1, 1, 2, 2),
    "REVERSE_SEQUENCE": (2, 2, 1, 1),
    "SVDF": (5, 5, 1, 1),
    "RNN": (5, 5, 1, 1),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (5, 5, 1, 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (20, 24, 1, 1),
    "NON_MAX_SUPPRESSION_V4": (5, 5, 2, 2),
    "NON_MAX_SUPPRESSION_V5": (6, 6, 3, 3),
    "VAR_HANDLE": (0, 0, 1, 1),
    "READ_VARIABLE": (1, 1, 1, 1),
    "ASSIGN_VARIABLE": (2, 2, 0, 0),
    "CALL_ONCE": (0, 0, 0, 0),
    "LceQuantize": (1, 1, 1, 1),
    "LceDequantize": (1, 1, 1, 1),
    "LceBconv2d": (5, 5, 1, 1),
    "LceBMaxPool2d": (1, 1, 1, 1),
}
"""Operator to least and most inputs, least and most outputs."""

_OPTIONAL: dict[str, frozenset[int]] = {
    "CONV_2D": frozenset({2}),
    "DEPTHWISE_CONV_2D": frozenset({2}),
    "FULLY_CONNECTED": frozenset({2}),
    "TRANSPOSE_CONV": frozenset({3}),
    "CONV_3D": frozenset({2}),
    "CONV_3D_TRANSPOSE": frozenset({3}),
    "LceBconv2d": frozenset({2, 3, 4}),
    "SVDF": frozenset({3}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": frozenset({1, 5, 9, 10, 11, 12, 16, 17, 20, 21, 22, 23}),
}
"""Operator to the inputs that may be absent."""

_ENUMS: dict[str, dict[int, int]] = {
    "Conv2DOptions": {0: 2, 3: 6},
    "DepthwiseConv2DOptions": {0: 2, 4: 6},
    "Pool2DOptions": {0: 2, 5: 6},
    "TransposeConvOptions": {0: 2, 3: 6},
    "Conv3DOptions": {0: 2, 4: 6},
    "FullyConnectedOptions": {0: 6, 1: 2},
    "AddOptions": {0: 6},
    "SubOptions": {0: 6},
    "MulOptions": {0: 6},
    "DivOptions": {0: 6},
    "ConcatenationOptions": {1: 6},
    "L2NormOptions": {0: 6},
    "SVDFOptions": {1: 6},
    "MirrorPadOptions": {0: 2},
}
"""Class of options to its fields that choose one of so many."""

_SPARSE = ("float32", "float16", "int8")


def check_counts(operator: Operator, options: str, is_optimised: bool) -> None:
    """Check how many tensors an operator has and that its options are there.

    Args:
        operator: The operator.
        options: The class of its options in the schema; empty if it has none.
        is_optimised: The interpreters' optimised kernels will run it.

    Raises:
        DamagedError: They are not what its kernels expect, or nothing is known about the operator here.
    """
    name = operator.name
    if name not in COUNTS or operator.is_custom != (name in BINARY):
        raise DamagedError(f"it holds a {name}, whose kernels are not known to look before they read")
    least, most, least_out, most_out = COUNTS[name]
    if not (least <= len(operator.inputs) <= most and least_out <= len(operator.outputs) <= most_out):
        raise DamagedError(f"a {name} has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs")
    if (
        is_optimised
        and name == "DEPTHWISE_CONV_2D"
        and len(operator.inputs) < 3
        and operator.outputs[0].dtype != "int16"
    ):
        raise DamagedError(f"a {name} has no bias, which the interpreters' optimised kernels read all the same")
    allowed = _OPTIONAL.get(name, frozenset())
    for place, tensor in enumerate(operator.inputs):
        if tensor is None and place not in allowed:
            raise DamagedError(f"a {name} lacks input {place}")
    for field, count in _ENUMS.get(options, {}).items():
        if not 0 <= operator.options.get(field, 0) < count:
            raise DamagedError(f"a {name} has an option that is not known here")


def check_sparse(operator: Operator) -> None:
    """Check that DENSIFY alone reads sparse constants, and writes what they are.

    Raises:
        DamagedError: Another operator does, or DENSIFY reads something else.
    """
    for tensor in operator.inputs:
        if tensor is not None and tensor.is_sparse != (operator.name == "DENSIFY"):
            raise DamagedError(f"a {operator.name} reads tensor {tensor.number}, whose elements are stored otherwise")
    if operator.name == "DENSIFY" and operator.inputs[0] is not None:
        source = operator.inputs[0]
        if source.dtype not in _SPARSE or operator.outputs[0].dtype != source.dtype or source.size == 0:
            raise DamagedError(f"a DENSIFY has elements of type {source.dtype}, which its kernels do not take")
