"""Which shape the kernels give an operator's outputs: a file that says another one describes tensors it does not get.

Source: the kernels' ``Prepare`` functions in tensorflow/lite/kernels. Parameters that are tensors have to be constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from multigraft.tflite.checking import binary
from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.rules import Constants, Shape, axis_within, broadcast, demand, shape_of
from multigraft.tflite.checking.windows import conv, dense, depthwise, pool, transpose_conv


def _same(operator: Operator, constants: Constants) -> list[Shape]:
    return [shape_of(operator, 0)]


def _broadcast(operator: Operator, constants: Constants) -> list[Shape]:
    return [broadcast(*(shape_of(operator, place) for place in range(len(operator.inputs))))]


def _concatenation(operator: Operator, constants: Constants) -> list[Shape]:
    shapes = [shape_of(operator, place) for place in range(len(operator.inputs))]
    axis = axis_within(operator.options.get(0, 0), len(shapes[0]))
    for shape in shapes:
        demand(len(shape) == len(shapes[0]))
        demand(all(a == b for i, (a, b) in enumerate(zip(shape, shapes[0], strict=True)) if i != axis))
    total = sum(shape[axis] for shape in shapes)
    return [(*shapes[0][:axis], total, *shapes[0][axis + 1 :])]


def _pack(operator: Operator, constants: Constants) -> list[Shape]:
    first = shape_of(operator, 0)
    demand(operator.options.get(0, 0) == len(operator.inputs))
    demand(all(shape_of(operator, place) == first for place in range(len(operator.inputs))))
    axis = axis_within(operator.options.get(1, 0), len(first) + 1)
    return [(*first[:axis], len(operator.inputs), *first[axis:])]


def _unpack(operator: Operator, constants: Constants) -> list[Shape]:
    shape = shape_of(operator, 0)
    axis = axis_within(operator.options.get(1, 0), len(shape))
    demand(operator.options.get(0, 0) == len(operator.outputs) == shape[axis])
    return [shape[:axis] + shape[axis + 1 :]] * len(operator.outputs)


def _reshape(operator: Operator, constants: Constants) -> list[Shape]:
    total = math.prod(shape_of(operator, 0))
    wanted = list(constants(1) if len(operator.inputs) > 1 else operator.options.get(0, ()))
    demand(len(operator.inputs) == 1 or len(shape_of(operator, 1)) == 1)
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        demand(rest > 0 and total % rest == 0)
        wanted[wanted.index(-1)] = total // rest
    demand(min(wanted, default=0) >= 0 and math.prod(wanted) == total)
    return [tuple(wanted)]


def _squeeze(operator: Operator, constants: Constants) -> list[Shape]:
    shape = shape_of(operator, 0)
    asked = operator.options.get(0, ())
    axes = {axis_within(axis, len(shape)) for axis in asked} if asked else {i for i, s in enumerate(shape) if s == 1}
    demand(all(shape[axis] == 1 for axis in axes))
    return [tuple(size for i, size in enumerate(shape) if i not in axes)]


def _expand(operator: Operator, constants: Constants) -> list[Shape]:
    shape, axes = shape_of(operator, 0), constants(1)
    demand(len(axes) == 1)
    axis = axis_within(axes[0], len(shape) + 1)
    return [(*shape[:axis], 1, *shape[axis:])]


def _reduce(operator: Operator, constants: Constants) -> list[Shape]:
    shape = shape_of(operator, 0)
    axes = {axis_within(axis, len(shape)) for axis in constants(1)}
    if operator.options.get(0, 0):
        return [tuple(1 if i in axes else size for i, size in enumerate(shape))]
    return [tuple(size for i, size in enumerate(shape) if i not in axes)]


def _arg(operator: Operator, constants: Constants) -> list[Shape]:
    shape, axes = shape_of(operator, 0), constants(1)
    demand(len(axes) == 1)
    axis = axis_within(axes[0], len(shape))
    return [shape[:axis] + shape[axis + 1 :]]


def _pad(operator: Operator, constants: Constants) -> list[Shape]:
    shape, amounts = shape_of(operator, 0), constants(1)
    demand(len(shape_of(operator, 1)) == 2 and len(amounts) == 2 * len(shape) and min(amounts, default=0) >= 0)
    if operator.name == "PADV2":
        demand(math.prod(shape_of(operator, 2)) == 1)
    if operator.name == "MIRROR_PAD":
        inner = 1 - operator.options.get(0, 0)
        demand(all(amounts[2 * i + side] <= size - inner for i, size in enumerate(shape) for side in (0, 1)))
    return [tuple(amounts[2 * i] + size + amounts[2 * i + 1] for i, size in enumerate(shape))]


def _resize(operator: Operator, constants: Constants) -> list[Shape]:
    batch, _, _, depth = shape_of(operator, 0, 4)
    size = constants(1)
    demand(len(size) == 2 and min(size) > 0)
    return [(batch, size[0], size[1], depth)]


def _transpose(operator: Operator, constants: Constants) -> list[Shape]:
    shape, order = shape_of(operator, 0), [*constants(1)]
    demand(len(order) == len(shape))
    order = [axis_within(axis, len(shape)) for axis in order]
    demand(sorted(order) == list(range(len(shape))))
    return [tuple(shape[axis] for axis in order)]


def _strided_slice(operator: Operator, constants: Constants) -> list[Shape]:
    shape = shape_of(operator, 0)
    begin, end, strides = constants(1), constants(2), constants(3)
    get = operator.options.get
    begin_mask, end_mask, shrink = get(0, 0), get(1, 0), get(4, 0)
    demand(len(begin) == len(end) == len(strides) <= len(shape))
    # An ellipsis, new dimensions and offsets are written by no converter of ours.
    demand(get(2, 0) == get(3, 0) == get(5, 0) == 0)
    result = []
    for i, size in enumerate(shape):
        if i >= len(begin):
            result.append(size)
        elif shrink >> i & 1:
            demand(-size <= begin[i] < size)
        else:
            demand(strides[i] != 0)
            chosen = slice(None if begin_mask >> i & 1 else begin[i], None if end_mask >> i & 1 else end[i], strides[i])
            result.append(len(range(*chosen.indices(size))))
    return [tuple(result)]


def _slice(operator: Operator, constants: Constants) -> list[Shape]:
    shape, begin, sizes = shape_of(operator, 0), constants(1), constants(2)
    demand(len(begin) == len(sizes) == len(shape))
    result = []
    for size, start, length in zip(shape, begin, sizes, strict=True):
        taken = size - start if length == -1 else length
        demand(start >= 0 and taken >= 0 and start + taken <= size)
        result.append(taken)
    return [tuple(result)]


def _split(operator: Operator, constants: Constants) -> list[Shape]:
    axes, shape = constants(0), shape_of(operator, 1)
    count = len(operator.outputs)
    demand(len(axes) == 1 and operator.options.get(0, 0) == count)
    axis = axis_within(axes[0], len(shape))
    demand(shape[axis] % count == 0)
    return [(*shape[:axis], shape[axis] // count, *shape[axis + 1 :])] * count


def _split_v(operator: Operator, constants: Constants) -> list[Shape]:
    shape, sizes, axes = shape_of(operator, 0), list(constants(1)), constants(2)
    demand(len(axes) == 1 and len(sizes) == len(operator.outputs) == operator.options.get(0, 0))
    axis = axis_within(axes[0], len(shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    demand(min(sizes) >= 0 and sum(sizes) == shape[axis])
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _gather(operator: Operator, constants: Constants) -> list[Shape]:
    shape, places = shape_of(operator, 0), shape_of(operator, 1)
    axis = axis_within(operator.options.get(0, 0), len(shape))
    batch = operator.options.get(1, 0)
    batch = batch + len(places) if batch < 0 else batch
    demand(0 <= batch <= min(len(places), axis) and shape[:batch] == places[:batch])
    source = operator.inputs[1]
    if source is not None and source.is_constant:
        demand(all(0 <= place < shape[axis] for place in constants(1)))
    return [(*shape[:axis], *places[batch:], *shape[axis + 1 :])]


def _tile(operator: Operator, constants: Constants) -> list[Shape]:
    shape, times = shape_of(operator, 0), constants(1)
    demand(len(times) == len(shape) and min(times, default=0) >= 0)
    return [tuple(size * count for size, count in zip(shape, times, strict=True))]


def _batch_matmul(operator: Operator, constants: Constants) -> list[Shape]:
    left, right = shape_of(operator, 0), shape_of(operator, 1)
    demand(2 <= len(left) <= 5 and 2 <= len(right) <= 5)
    rows, inner = (left[-1], left[-2]) if operator.options.get(0, 0) else left[-2:]
    held, columns = (right[-1], right[-2]) if operator.options.get(1, 0) else right[-2:]
    demand(inner == held)
    return [(*broadcast(left[:-2], right[:-2]), rows, columns)] if len(left) + len(right) > 4 else [(rows, columns)]


def _blocks(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    block = operator.options.get(0, 0)
    demand(0 < block < 1 << 15)
    if operator.name == "SPACE_TO_DEPTH":
        demand(height % block == 0 and width % block == 0)
        return [(batch, height // block, width // block, depth * block * block)]
    demand(depth % (block * block) == 0)
    return [(batch, height * block, width * block, depth // (block * block))]


def _space_to_batch(operator: Operator, constants: Constants) -> list[Shape]:
    shape, blocks, edges = shape_of(operator, 0), constants(1), constants(2)
    demand(len(shape) in (3, 4) and len(blocks) == len(shape) - 2 and len(edges) == 2 * len(blocks))
    demand(min(blocks) > 0 and min(edges) >= 0)
    batch, inner = shape[0], []
    for i, block in enumerate(blocks):
        around = edges[2 * i] + edges[2 * i + 1]
        if operator.name == "SPACE_TO_BATCH_ND":
            demand((shape[1 + i] + around) % block == 0)
            inner.append((shape[1 + i] + around) // block)
            batch *= block
        else:
            demand(batch % block == 0 and shape[1 + i] * block > around)
            inner.append(shape[1 + i] * block - around)
            batch //= block
    return [(batch, *inner, shape[-1])]


def _prelu(operator: Operator, constants: Constants) -> list[Shape]:
    demand(broadcast(shape_of(operator, 0), shape_of(operator, 1)) == shape_of(operator, 0))
    return [shape_of(operator, 0)]


def _rank(operator: Operator, constants: Constants) -> list[Shape]:
    return [(len(shape_of(operator, 0)),)]


def _broadcast_to(operator: Operator, constants: Constants) -> list[Shape]:
    wanted = tuple(constants(1))
    demand(min(wanted, default=0) >= 0 and len(wanted) <= 8)
    demand(broadcast(shape_of(operator, 0), wanted) == wanted)
    return [wanted]


def _cumsum(operator: Operator, constants: Constants) -> list[Shape]:
    axes = constants(1)
    demand(len(axes) == 1)
    axis_within(axes[0], len(shape_of(operator, 0)))
    return [shape_of(operator, 0)]


def _reverse(operator: Operator, constants: Constants) -> list[Shape]:
    axes = [axis_within(axis, len(shape_of(operator, 0))) for axis in constants(1)]
    demand(len(set(axes)) == len(axes) > 0)
    return [shape_of(operator, 0)]


def _topk(operator: Operator, constants: Constants) -> list[Shape]:
    shape, count = shape_of(operator, 0), constants(1)
    demand(len(count) == 1 and len(shape) > 0 and 0 < count[0] <= shape[-1])
    return [(*shape[:-1], count[0])] * 2


_KEEP_SHAPE = (
    "DENSIFY DEQUANTIZE FLOOR L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION LOGISTIC RELU RELU_N1_TO_1 RELU6 SOFTMAX "
    "TANH EXP LOG_SOFTMAX CAST NEG SIN LOG SQRT RSQRT LOGICAL_NOT SQUARE ZEROS_LIKE LEAKY_RELU ABS CEIL COS ELU "
    "QUANTIZE ROUND HARD_SWISH GELU RELU_0_TO_1 SIGN FAKE_QUANT"
)
_BROADCAST = (
    "ADD MUL SUB DIV MAXIMUM MINIMUM LESS GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL POW LOGICAL_OR "
    "LOGICAL_AND FLOOR_DIV FLOOR_MOD SQUARED_DIFFERENCE ATAN2 SELECT_V2 ADD_N"
)
_POOLS = "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D"
_REDUCTIONS = "MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL"
_ARGUMENTS = "ARG_MAX ARG_MIN"
_PADDINGS = "PAD PADV2 MIRROR_PAD"
_RESIZINGS = "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR"
_BLOCKS = "SPACE_TO_DEPTH DEPTH_TO_SPACE"
_BATCHES = "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND"

_RULES: dict[str, Callable[[Operator, Constants], list[Shape]]] = {
    **dict.fromkeys(_KEEP_SHAPE.split(), _same),
    **dict.fromkeys(_BROADCAST.split(), _broadcast),
    **dict.fromkeys(_POOLS.split(), pool),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(_ARGUMENTS.split(), _arg),
    **dict.fromkeys(_PADDINGS.split(), _pad),
    **dict.fromkeys(_RESIZINGS.split(), _resize),
    **dict.fromkeys(_BLOCKS.split(), _blocks),
    **dict.fromkeys(_BATCHES.split(), _space_to_batch),
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": dense,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
    "TRANSPOSE": _transpose,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "GATHER": _gather,
    "TILE": _tile,
    "BATCH_MATMUL": _batch_matmul,
    "PRELU": _prelu,
    "SHAPE": _rank,
    "BROADCAST_TO": _broadcast_to,
    "CUMSUM": _cumsum,
    "REVERSE_V2": _reverse,
    "TOPK_V2": _topk,
    "LceQuantize": binary.quantize,
    "LceDequantize": binary.dequantize,
    "LceBconv2d": binary.conv,
    "LceBMaxPool2d": binary.pool,
}


def output_shapes(operator: Operator, constants: Constants) -> list[Shape] | None:
    """The shapes of an operator's outputs; None where nothing is known here about its kernels' rule.

    Args:
        operator: With as many inputs and outputs as it has to have.
        constants: Raises DamagedError where an input is no constant of integers.

    Raises:
        DamagedError: Its inputs and options do not go together.
    """
    rule = _RULES.get(operator.name)
    return None if rule is None else rule(operator, constants)
