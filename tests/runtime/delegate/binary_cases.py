"""Networks of the four binary operators: drawn at random, written as .tflite, and computed by numpy.

What the numbers mean is written in docs/binary.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from multigraft.tensors.arrays import Array
from multigraft.tflite.graph import Graph, Model, Op, Quant, Signature, Tensor
from multigraft.tflite.tflite_file import write

ACTIVATIONS = ((-(1 << 40), 1 << 40), (0, 1 << 40), (-1, 1), (0, 6))
"""Least and most of no activation, RELU, RELU_N1_TO_1 and RELU6."""


def options(**numbers: int) -> bytes:
    """A FlexBuffers map."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        for key, number in numbers.items():
            builder.Key(key)
            builder.Int(number)
    return bytes(builder.Finish())


def packed(values: Array, zero_point: int = 0) -> Array:
    """[..., C] to int32 [..., ceil(C / 32)]."""
    channels = values.shape[-1]
    bits = np.zeros((*values.shape[:-1], -(-channels // 32) * 32), bool)
    bits[..., :channels] = values < zero_point
    words: Array = np.packbits(bits, -1, bitorder="little").view("<i4")
    return words


def signs(words: Array, channels: int) -> Array:
    """int32 [..., words] to -1 and 1 in int64 [..., C]."""
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")
    return 1 - 2 * bits[..., :channels].astype(np.int64)


def positions(size: int, window: int, stride: int, dilation: int, is_valid: bool) -> tuple[int, int]:
    """Outputs along one axis, and the padding before the first."""
    span = (window - 1) * dilation + 1
    if is_valid:
        return (size - span) // stride + 1, 0
    count = -(-size // stride)
    return count, max(0, (count - 1) * stride + span - size) // 2


@dataclass(frozen=True)
class Conv:
    """A binary convolution: LceQuantize, LceBconv2d, and LceBMaxPool2d and LceDequantize where the output is packed."""

    batch: int = 1
    height: int = 5
    width: int = 5
    channels: int = 32
    outputs: int = 16
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    is_valid: bool = False
    pads_one: bool = True
    activation: int = 0
    source: str = "float32"
    output: str = "float32"
    pool: tuple[int, int, int] | None = None
    """Window, stride and 1 for VALID."""
    second: Conv | None = None
    """Another convolution on the packed output."""
    values: dict[str, Array] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows, _ = positions(self.height, self.kernel[0], self.stride[0], self.dilation[0], self.is_valid)
        columns, _ = positions(self.width, self.kernel[1], self.stride[1], self.dilation[1], self.is_valid)
        return rows, columns

    @property
    def places(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.channels // self.groups


def with_values(case: Conv, rng: np.random.Generator) -> Conv:
    """The same case with weights and parameters."""
    width = -(-case.channels // 32) // case.groups
    weights = rng.choice([-1.0, 1.0], (case.outputs, *case.kernel, case.channels // case.groups))
    assert packed(weights).shape[-1] == width
    reach = float(np.sqrt(case.places))
    # The least and the most thresholds decide without a sum.
    thresholds = np.round(case.places / 2 + reach * rng.normal(0, 0.6, case.outputs)).astype(np.int32)
    thresholds[rng.random(case.outputs) < 0.05] = rng.choice([-(1 << 31), -1, (1 << 31) - 1])
    values: dict[str, Array] = {
        "weights": weights,
        "multiplier": (rng.normal(0, 1, case.outputs) / reach).astype(np.float32),
        "bias": rng.normal(0, 1, case.outputs).astype(np.float32),
        "thresholds": thresholds,
        "scale": np.array(rng.uniform(0.005, 0.05), np.float32),
        "zero_point": np.array(rng.integers(-20, 20)),
    }
    return replace(case, values=values, second=case.second and with_values(case.second, rng))


def with_binary_conv(case: Conv, source: str, target: str, tensors: list[Tensor]) -> Op:
    """The operator of ``case``, whose constants join ``tensors``."""
    held = case.values
    is_packed = case.output == "packed"
    tensors.append(Tensor(f"{target}/filter", packed(held["weights"]).shape, "int32", data=packed(held["weights"])))
    names = [source, f"{target}/filter"]
    for name in ("multiplier", "bias"):
        names.append("" if is_packed else f"{target}/{name}")
        if not is_packed:
            tensors.append(Tensor(names[-1], (case.outputs,), "float32", data=held[name]))
    names.append(f"{target}/thresholds" if is_packed else "")
    if is_packed:
        tensors.append(Tensor(names[-1], (case.outputs,), "int32", data=held["thresholds"]))
    custom = options(
        channels_in=case.channels,
        dilation_height_factor=case.dilation[0],
        dilation_width_factor=case.dilation[1],
        fused_activation_function=case.activation,
        pad_values=int(case.pads_one),
        padding=int(case.is_valid),
        stride_height=case.stride[0],
        stride_width=case.stride[1],
    )
    return Op("CUSTOM", tuple(names), (target,), custom_code="LceBconv2d", custom_options=custom)


def model_of(case: Conv) -> bytes:
    """The case as a .tflite file with the signature ``serve``, input ``x`` and output ``y``."""
    zero_point = int(case.values["zero_point"])
    quant = Quant((0.1,), (zero_point,)) if case.source == "int8" else None
    shape = (case.batch, case.height, case.width, case.channels)
    tensors = [Tensor("x", shape, case.source, quant)]
    words = -(-case.channels // 32)
    tensors.append(Tensor("packed", (*shape[:3], words), "int32"))
    ops = [Op("CUSTOM", ("x",), ("packed",), custom_code="LceQuantize")]
    source, index, current = "packed", 0, case
    while True:
        name, (rows, columns) = f"conv{index}", current.size
        ops.append(with_binary_conv(current, source, name, tensors))
        if current.output != "packed":
            quant = Quant((float(current.values["scale"]),), (int(current.values["zero_point"]),))
            is_int8 = current.output == "int8"
            dims = (current.batch, rows, columns, current.outputs)
            tensors.append(Tensor(name, dims, current.output, quant if is_int8 else None))
            result = name
            break
        words = -(-current.outputs // 32)
        tensors.append(Tensor(name, (current.batch, rows, columns, words), "int32"))
        if current.pool is not None:
            window, stride, is_valid = current.pool
            rows, _ = positions(rows, window, stride, 1, bool(is_valid))
            columns, _ = positions(columns, window, stride, 1, bool(is_valid))
            tensors.append(Tensor(f"pool{index}", (current.batch, rows, columns, words), "int32"))
            custom = options(
                filter_height=window, filter_width=window, padding=is_valid, stride_height=stride, stride_width=stride
            )
            pool = Op("CUSTOM", (name,), (f"pool{index}",), custom_code="LceBMaxPool2d", custom_options=custom)
            ops.append(pool)
            name = f"pool{index}"
        if current.second is None:
            dims = (current.batch, rows, columns, current.outputs)
            tensors.append(Tensor("y", dims, "float32"))
            ops.append(Op("CUSTOM", (name,), ("y",), custom_code="LceDequantize"))
            result = "y"
            break
        source, index, current = name, index + 1, current.second
    graph = Graph.of("main", ["x"], [result], ops, tensors)
    return write(Model((graph,), (Signature("serve", {"x": "x"}, {"y": result}),)))


def _sums(case: Conv, x: Array) -> Array:
    """Twice the differences, int64 [N, rows, columns, O]; ``x`` is -1 and 1 in int64 [N, H, W, C]."""
    (rows, columns), (kh, kw) = case.size, case.kernel
    _, top = positions(case.height, kh, case.stride[0], case.dilation[0], case.is_valid)
    _, left = positions(case.width, kw, case.stride[1], case.dilation[1], case.is_valid)
    outside = 1 if case.pads_one else 0
    depth, per_group = case.channels // case.groups, case.outputs // case.groups
    result = np.zeros((case.batch, rows, columns, case.outputs), np.int64)
    for i in range(rows):
        for j in range(columns):
            window = np.full((case.batch, kh, kw, case.channels), outside, np.int64)
            for a in range(kh):
                for b in range(kw):
                    y = i * case.stride[0] - top + a * case.dilation[0]
                    z = j * case.stride[1] - left + b * case.dilation[1]
                    if 0 <= y < case.height and 0 <= z < case.width:
                        window[:, a, b] = x[:, y, z]
            for g in range(case.groups):
                part = slice(g * per_group, (g + 1) * per_group)
                weights = case.values["weights"][part].astype(np.int64)
                seen = window[..., g * depth : (g + 1) * depth]
                result[:, i, j, part] = np.einsum("nhwc,ohwc->no", seen, weights)
    return case.places - result


def _pooled(x: Array, pool: tuple[int, int, int]) -> Array:
    window, stride, is_valid = pool
    rows, top = positions(x.shape[1], window, stride, 1, bool(is_valid))
    columns, left = positions(x.shape[2], window, stride, 1, bool(is_valid))
    result = np.empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride - top, j * stride - left
            result[:, i, j] = x[:, max(y, 0) : y + window, max(z, 0) : z + window].max((1, 2))
    return result


def answer_of(case: Conv, x: Array) -> Array:
    """What the network gives, by numpy.

    Args:
        x: Stored values of the input, [N, H, W, C].
    """
    zero_point = {"float32": 0, "int8": int(case.values["zero_point"]), "bool": 1}[case.source]
    current, value = case, np.where(x.astype(np.float32) < zero_point, -1, 1).astype(np.int64)
    while True:
        twice, held = _sums(current, value), current.values
        if current.output == "packed":
            value = np.where(twice > 2 * held["thresholds"].astype(np.int64), -1, 1)
            if current.pool is not None:
                value = _pooled(value, current.pool)
            if current.second is None:
                return value.astype(np.float32)
            current = current.second
            continue
        least, most = ACTIVATIONS[current.activation]
        scale, zero = (float(held["scale"]), int(held["zero_point"])) if current.output == "int8" else (1.0, 0)
        multiplier, bias = held["multiplier"].astype(np.float64), held["bias"].astype(np.float64)
        # As float32 the factors hold scale, zero point and K: what is rounded when decides about int8's last bit.
        slope = (-multiplier / scale).astype(np.float32)
        level = ((bias + current.places * multiplier) / scale + zero).astype(np.float32)
        clamped = current.places - np.clip(current.places - twice, max(least, -current.places), most)
        y: Array = clamped.astype(np.float32) * slope + level
        if current.output == "float32":
            return y
        whole = np.trunc(y)
        rest = y - whole
        rounded = whole + (rest >= 0.5) - (rest <= -0.5)
        stored: Array = np.clip(rounded, -128, 127).astype(np.int8)
        return stored


def inputs_of(case: Conv, rng: np.random.Generator) -> Array:
    """Values of the input, some of them 0 and -0."""
    shape = (case.batch, case.height, case.width, case.channels)
    if case.source == "int8":
        return rng.integers(-128, 128, shape, np.int8)
    if case.source == "bool":
        return rng.random(shape) < 0.5
    x = rng.normal(0, 1, shape).astype(np.float32)
    x[rng.random(shape) < 0.1] = 0.0
    x[rng.random(shape) < 0.1] = -0.0
    return x


def drawn(rng: np.random.Generator, is_known_to_lce: bool = False) -> Conv:
    """A case at random.

    Args:
        rng: Decides.
        is_known_to_lce: Only what Larq Compute Engine's reference kernels take, too: with zero padding no odd number of
            channels and no packed output, at which they crash.
    """

    def one(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    groups = one(1, 1, 1, 2, 3)
    channels = int(rng.integers(1, 200)) if groups == 1 else 32 * groups * int(rng.integers(1, 3))
    outputs = groups * int(rng.integers(1, 90))
    kernel = (one(1, 2, 3, 5), one(1, 2, 3, 5))
    dilation = (one(1, 1, 2), one(1, 1, 3))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    output = one("float32", "int8", "packed")
    pads_one = one(True, True, False) or (is_known_to_lce and output == "packed")
    activation = int(rng.integers(4))
    if is_known_to_lce and not pads_one:
        channels += channels % 2
    case = Conv(
        batch=one(1, 1, 2),
        height=spans[0] + int(rng.integers(0, 8)),
        width=spans[1] + int(rng.integers(0, 8)),
        channels=channels,
        outputs=outputs,
        kernel=kernel,
        stride=(one(1, 1, 2, 3), one(1, 1, 2)),
        dilation=dilation,
        groups=groups,
        is_valid=one(True, False),
        pads_one=pads_one,
        activation=0 if output == "packed" else activation,
        source=one("float32", "int8", "bool"),
        output=output,
    )
    if output == "packed":
        pool = one(None, (2, 2, 0), (3, 1, 0), (2, 2, 1))
        if pool is not None and pool[2] and min(case.size) < 2:
            pool = None
        rows, columns = case.size
        if pool is not None:
            rows, columns = (positions(n, pool[0], pool[1], 1, bool(pool[2]))[0] for n in (rows, columns))
        second = None
        if one(True, False):
            second = Conv(
                case.batch, rows, columns, outputs, int(rng.integers(1, 40)), (1, 1), output=one("float32", "int8")
            )
        case = replace(case, pool=pool, second=second)
    return with_values(case, rng)
