"""Element types that have to be equal: kernels that move bytes take one size for both sides, and others one function.

Source: the kernels' ``Prepare`` functions in tensorflow/lite/kernels, of which several do not look.
"""

from __future__ import annotations

from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.flatbuffer import DamagedError

_SAME = (
    "RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE PAD PADV2 MIRROR_PAD SLICE STRIDED_SLICE CONCATENATION PACK UNPACK "
    "SPLIT_V TILE GATHER GATHER_ND REVERSE_V2 REVERSE_SEQUENCE SPACE_TO_DEPTH DEPTH_TO_SPACE BATCH_TO_SPACE_ND "
    "SPACE_TO_BATCH_ND RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR BROADCAST_TO DYNAMIC_UPDATE_SLICE MAX_POOL_2D "
    "AVERAGE_POOL_2D L2_POOL_2D RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 TANH LOGISTIC LOG_SOFTMAX LEAKY_RELU PRELU "
    "HARD_SWISH ELU GELU EXP NEG ABS SQRT RSQRT SQUARE SIN COS LOG FLOOR CEIL ROUND SIGN L2_NORMALIZATION "
    "ZEROS_LIKE MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN ADD SUB DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE "
    "FLOOR_DIV FLOOR_MOD POW CUMSUM"
)
_MOVES = frozenset(_SAME.split())
_ALL = "CONCATENATION PACK ADD SUB DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD POW PRELU"
_ALL_ALIKE = frozenset(_ALL.split())
"""Every input is of that type, not the first alone."""
_SOFTMAX = {
    "float32": ("float32",), "int8": ("int8", "int16"), "uint8": ("uint8", "int16"), "int16": ("int16",),
}  # fmt: skip


def check_types(operator: Operator) -> None:
    """Check that an operator writes what it reads, where its kernels take that for granted.

    Raises:
        DamagedError: It writes another type.
    """
    name, source = operator.name, operator.inputs[0] if operator.inputs else None
    if source is None:
        return
    written = [output.dtype for output in operator.outputs]
    if "int2" in written:
        raise DamagedError(f"a {name} writes 2-bit values, which are for weights alone")
    if name in _MOVES:
        read = {t.dtype for t in operator.inputs if t is not None} if name in _ALL_ALIKE else {source.dtype}
        if not {*written} <= read or len(read) > 1:
            raise DamagedError(f"a {name} makes {written[0]} of {' and '.join(sorted(read))}")
    elif name == "SPLIT" and operator.inputs[1] is not None:
        if any(dtype != operator.inputs[1].dtype for dtype in written):
            raise DamagedError(f"a SPLIT makes {written[0]} of {operator.inputs[1].dtype}")
    elif name == "SOFTMAX" and written[0] not in _SOFTMAX.get(source.dtype, ()):
        raise DamagedError(f"a SOFTMAX makes {written[0]} of {source.dtype}")
    elif name == "MUL" and ("float32" in written) != (source.dtype == "float32"):
        raise DamagedError(f"a MUL makes {written[0]} of {source.dtype}")
