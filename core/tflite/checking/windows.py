"""Shapes of convolutions, pools and dense layers; source as in :mod:`multigraft.tflite.checking.shapes`."""

from __future__ import annotations

import math

from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.rules import Constants, Shape, demand, shape_of


def window(size: int, kernel: int, stride: int, dilation: int, is_valid: bool) -> int:
    """How many outputs there are along one axis, at least one."""
    demand(kernel > 0 and 0 < stride < 1 << 16 and 0 < dilation < 1 << 16)
    span = (kernel - 1) * dilation + 1
    result = -(-(size - span + 1) // stride) if is_valid else -(-size // stride)
    demand(result > 0)
    return result


def _bias(operator: Operator, place: int, channels: int) -> None:
    if len(operator.inputs) > place and operator.inputs[place] is not None:
        demand(math.prod(shape_of(operator, place)) == channels)


def conv(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    channels, kernel_h, kernel_w, held = shape_of(operator, 1, 4)
    demand(0 < held <= depth and depth % held == 0 and channels % (depth // held) == 0)
    _bias(operator, 2, channels)
    get = operator.options.get
    is_valid = get(0, 0) == 1
    rows = window(height, kernel_h, get(2, 0), get(5, 1), is_valid)
    return [(batch, rows, window(width, kernel_w, get(1, 0), get(4, 1), is_valid), channels)]


def depthwise(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    one, kernel_h, kernel_w, channels = shape_of(operator, 1, 4)
    get = operator.options.get
    demand(one == 1 and depth > 0 and channels % depth == 0 and get(3, 0) in (0, channels // depth))
    _bias(operator, 2, channels)
    is_valid = get(0, 0) == 1
    rows = window(height, kernel_h, get(2, 0), get(6, 1), is_valid)
    return [(batch, rows, window(width, kernel_w, get(1, 0), get(5, 1), is_valid), channels)]


def transpose_conv(operator: Operator, constants: Constants) -> list[Shape]:
    wanted = tuple(constants(0))
    channels, kernel_h, kernel_w, depth = shape_of(operator, 1, 4)
    batch, height, width, held = shape_of(operator, 2, 4)
    get = operator.options.get
    demand(len(wanted) == 4 and wanted[0] == batch and wanted[3] == channels and held == depth)
    _bias(operator, 3, channels)
    is_valid = get(0, 0) == 1
    # It is the gradient of a convolution from the output to the input.
    demand(window(wanted[1], kernel_h, get(2, 0), 1, is_valid) == height)
    demand(window(wanted[2], kernel_w, get(1, 0), 1, is_valid) == width)
    return [wanted]


def dense(operator: Operator, constants: Constants) -> list[Shape]:
    source = shape_of(operator, 0)
    units, depth = shape_of(operator, 1, 2)
    demand(depth > 0 and len(source) > 0 and math.prod(source) % depth == 0)
    _bias(operator, 2, units)
    if operator.options.get(2, 0):
        demand(source[-1] == depth)
        return [(*source[:-1], units)]
    return [(math.prod(source) // depth, units)]


def pool(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    get = operator.options.get
    is_valid = get(0, 0) == 1
    demand(get(3, 0) < 1 << 16 and get(4, 0) < 1 << 16)
    rows = window(height, get(4, 0), get(2, 0), 1, is_valid)
    return [(batch, rows, window(width, get(3, 0), get(1, 0), 1, is_valid), depth)]
