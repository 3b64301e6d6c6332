"""What the binary operators of Larq Compute Engine's set ask of their tensors and options.

Packed tensors are int32; a word holds 32 channels. The delegate that runs these operators (``runtime/delegate``) looks
at the same when it is prepared. What it can't say there is which file is at fault.
"""

from __future__ import annotations

from multigraft.tflite.checking.contents import Operator
from multigraft.tflite.checking.flatbuffer import DamagedError
from multigraft.tflite.checking.rules import Constants, Shape, demand, shape_of
from multigraft.tflite.checking.windows import window
from multigraft.tflite.operators import BINARY
from multigraft.tflite.words import words_of

_VALUES = ("float32", "int8", "bool")
_MOST_PLACES = 1 << 28
_LEAST_SCALE = 1e-30
_CONV_OPTIONS = {
    "channels_in": (1, 1 << 20),
    "stride_height": (1, 1 << 16),
    "stride_width": (1, 1 << 16),
    "dilation_height_factor": (1, 1 << 16),
    "dilation_width_factor": (1, 1 << 16),
    "padding": (0, 1),
    "pad_values": (0, 1),
    "fused_activation_function": (0, 3),
}
_POOL_OPTIONS = {
    "filter_height": (1, 1 << 16),
    "filter_width": (1, 1 << 16),
    "stride_height": (1, 1 << 16),
    "stride_width": (1, 1 << 16),
    "padding": (0, 1),
}
_OPTIONS = {"LceBconv2d": _CONV_OPTIONS, "LceBMaxPool2d": _POOL_OPTIONS}


def check_binary(operator: Operator) -> None:
    """Check the types and options of a binary operator; others pass.

    Raises:
        DamagedError: The delegate would refuse it.
    """
    name = operator.name
    if name not in BINARY:
        return
    for key, (least, most) in _OPTIONS.get(name, {}).items():
        if not least <= operator.options.get(key, least - 1) <= most:
            raise DamagedError(f"a {name} has no option {key} that can be used")
    source, output = operator.inputs[0], operator.outputs[0]
    assert source is not None
    values, packed = (source, output) if name == "LceQuantize" else (output, source)
    if packed.dtype != "int32":
        raise DamagedError(f"a {name} packs into {packed.dtype}")
    if source.is_constant:
        raise DamagedError(f"a {name} works on a constant")
    if name == "LceBMaxPool2d":
        if output.dtype != "int32":
            raise DamagedError(f"a {name} makes {output.dtype}")
        return
    taken = (*_VALUES[:2], "int32") if name == "LceBconv2d" else _VALUES
    if values.dtype not in taken:
        raise DamagedError(f"a {name} has elements of type {values.dtype}")
    if values.dtype == "int8" and (len(values.scales) != 1 or not values.scales[0] > _LEAST_SCALE):
        raise DamagedError(f"a {name} computes with tensor {values.number}, which has no scale")
    if name == "LceBconv2d":
        _check_parameters(operator)


def _check_parameters(operator: Operator) -> None:
    filters, output = operator.inputs[1], operator.outputs[0]
    needed = {4: "int32"} if output.dtype == "int32" else {2: "float32", 3: "float32"}
    if filters is None or not filters.is_constant or filters.dtype != "int32":
        raise DamagedError("a LceBconv2d has a filter that is no constant")
    for place, dtype in needed.items():
        tensor = operator.inputs[place]
        if tensor is None or not tensor.is_constant or tensor.dtype != dtype or tensor.shape != filters.shape[:1]:
            raise DamagedError(f"a LceBconv2d lacks input {place}")


def quantize(operator: Operator, constants: Constants) -> list[Shape]:
    shape = shape_of(operator, 0)
    demand(len(shape) > 0 and min(shape) > 0)
    return [(*shape[:-1], words_of(shape[-1]))]


def dequantize(operator: Operator, constants: Constants) -> list[Shape]:
    shape, said = shape_of(operator, 0), operator.outputs[0].shape
    demand(len(shape) > 0 and min(shape) > 0 and len(said) == len(shape) and words_of(said[-1]) == shape[-1])
    return [(*shape[:-1], said[-1])]


def conv(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    outputs, kernel_h, kernel_w, held = shape_of(operator, 1, 4)
    options, channels = operator.options, operator.options["channels_in"]
    demand(min(outputs, kernel_h, kernel_w, held) > 0 and depth == words_of(channels) and depth % held == 0)
    groups = depth // held
    demand(groups == 1 or (channels % (32 * groups) == 0 and outputs % groups == 0))
    places = kernel_h * kernel_w * held
    demand(places * 32 < _MOST_PLACES and outputs * (places + 32) <= _MOST_PLACES)
    is_valid = options["padding"] == 1
    rows = window(height, kernel_h, options["stride_height"], options["dilation_height_factor"], is_valid)
    columns = window(width, kernel_w, options["stride_width"], options["dilation_width_factor"], is_valid)
    return [(batch, rows, columns, words_of(outputs) if operator.outputs[0].dtype == "int32" else outputs)]


def pool(operator: Operator, constants: Constants) -> list[Shape]:
    batch, height, width, depth = shape_of(operator, 0, 4)
    options = operator.options
    is_valid = options["padding"] == 1
    rows = window(height, options["filter_height"], options["stride_height"], 1, is_valid)
    return [(batch, rows, window(width, options["filter_width"], options["stride_width"], 1, is_valid), depth)]
