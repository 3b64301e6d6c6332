"""A .tflite file of bits between int8 convolutions, whose answer hangs on how the sums of these are rounded."""

from __future__ import annotations

import numpy as np

from multigraft.tflite.graph import Graph, Model, Op, OptionValue, Quant, Tensor
from multigraft.tflite.tflite_file import write
from tests.runtime.delegate.binary_cases import Conv, with_binary_conv, with_values

CHANNELS, BLOCKS, SIZE = 32, 6, 8


def signed_tower() -> bytes:
    """8 x 8 int8 values of 3 channels in, 16 x 32 values out; after each int8 convolution signs alone go on."""
    rng = np.random.default_rng(3)
    tensors = [Tensor("image", (1, SIZE, SIZE, 3), "int8", Quant((1 / 256,), (0,)))]
    ops: list[Op] = []
    source, channels = "image", 3
    for block in range(BLOCKS):
        ops.append(_conv(f"sum{block}", source, channels, tensors, rng))
        tensors.append(Tensor(f"bits{block}", (1, SIZE, SIZE, 1), "int32"))
        ops.append(Op("CUSTOM", (f"sum{block}",), (f"bits{block}",), custom_code="LceQuantize"))
        case = with_values(Conv(height=SIZE, width=SIZE, channels=32, outputs=32, output="int8"), rng)
        source, channels = f"answer{block}", CHANNELS
        ops.append(with_binary_conv(case, f"bits{block}", source, tensors))
        tensors.append(Tensor(source, (1, SIZE, SIZE, 32), "int8", Quant((1 / 64,), (0,))))
    return write(Model((Graph.of("main", ["image"], [source], ops, tensors),)))


def _conv(name: str, source: str, channels: int, tensors: list[Tensor], rng: np.random.Generator) -> Op:
    """A convolution that divides sums by 64: one in 64 lies in the middle, where kernels round otherwise."""
    (given,) = (t.quant.scales[0] for t in tensors if t.name == source and t.quant)
    scales = (1 / 128,) * CHANNELS
    weights = rng.integers(-3, 4, (CHANNELS, 1, 1, channels), np.int8)
    held = Quant(scales, (0,) * CHANNELS)
    biases = Quant(tuple(given * scale for scale in scales), (0,) * CHANNELS)
    tensors += [
        Tensor(f"{name}/w", weights.shape, "int8", held, weights),
        Tensor(f"{name}/b", (CHANNELS,), "int32", biases, np.zeros(CHANNELS, np.int32)),
        Tensor(name, (1, SIZE, SIZE, CHANNELS), "int8", Quant((given / 2,), (0,))),
    ]
    options: dict[str, OptionValue] = {"padding": "SAME", "fused_activation_function": "NONE"}
    options |= dict.fromkeys(("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor"), 1)
    return Op("CONV_2D", (source, f"{name}/w", f"{name}/b"), (name,), options)
