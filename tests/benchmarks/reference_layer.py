"""Layers by TensorFlow Lite Micro's reference kernels, which it runs where no optimised ones exist for a core."""

from __future__ import annotations

import subprocess
from pathlib import Path

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.program.program import Node
from tests.benchmarks.kernel_beside import Call, Library, c_array, compiled, constants_of, layer_of

_FLAGS = (
    "-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-DNDEBUG", "-DTF_LITE_STATIC_MEMORY",
    "-DTF_LITE_STRIP_ERROR_STRINGS",
)  # fmt: skip
"""As TensorFlow Lite Micro's own release build."""
_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_ARGUMENTS = (
    "int kind, const int32_t *s, const int32_t *multipliers, const int32_t *shifts, const int8_t *in, "
    "const int8_t *w, const int32_t *bias, int8_t *out"
)
_SOURCE = f"""
#include "tensorflow/lite/kernels/internal/reference/integer_ops/conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/depthwise_conv.h"
#include "tensorflow/lite/kernels/internal/reference/integer_ops/fully_connected.h"

extern "C" void abort(void) {{ for (;;) {{}} }}

template <typename Params> static Params common(const int32_t *s)
{{
    Params by = {{}};
    by.input_offset = -s[6];
    by.output_offset = s[7];
    by.quantized_activation_min = s[8];
    by.quantized_activation_max = s[9];
    return by;
}}

template <typename Params> static Params sliding(const int32_t *s)
{{
    Params by = common<Params>(s);
    by.stride_height = s[12];
    by.stride_width = s[13];
    by.dilation_height_factor = s[14];
    by.dilation_width_factor = s[15];
    by.padding_values.height = s[16];
    by.padding_values.width = s[17];
    return by;
}}

extern "C" void other_layer({_ARGUMENTS})
{{
    using namespace tflite;
    const int32_t ins[] = {{1, s[0], s[1], s[2]}}, outs[] = {{1, s[3], s[4], s[5]}}, biases[] = {{s[5]}};
    const RuntimeShape from(4, ins), to(4, outs), offsets(1, biases);
    if (kind == 0) {{
        const int32_t kernel[] = {{s[5], s[10], s[11], s[2]}};
        reference_integer_ops::ConvPerChannel(sliding<ConvParams>(s), multipliers, shifts, from, in,
                                              RuntimeShape(4, kernel), w, offsets, bias, to, out);
    }} else if (kind == 1) {{
        DepthwiseParams by = sliding<DepthwiseParams>(s);
        by.depth_multiplier = s[5] / s[2];
        const int32_t kernel[] = {{1, s[10], s[11], s[5]}};
        reference_integer_ops::DepthwiseConvPerChannel(by, multipliers, shifts, from, in, RuntimeShape(4, kernel), w,
                                                       offsets, bias, to, out);
    }} else {{
        FullyConnectedParams by = common<FullyConnectedParams>(s);
        by.output_multiplier = multipliers[0];
        by.output_shift = shifts[0];
        const int32_t row[] = {{1, s[2]}}, kernel[] = {{s[5], s[2]}}, result[] = {{1, s[5]}};
        reference_integer_ops::FullyConnected(by, RuntimeShape(2, row), in, RuntimeShape(2, kernel), w, offsets, bias,
                                              RuntimeShape(2, result), out);
    }}
}}
"""


def reference_library(checkout: Path, gemmlowp: Path, board: Board, folder: Path) -> Library:
    """The kernels of a checkout of TensorFlow Lite Micro, whose fixed-point arithmetic is a checkout of gemmlowp."""
    source = folder / "other.cc"
    source.write_text(_SOURCE)
    common = checkout / "tensorflow/lite/kernels/internal/common.cc"
    includes = [f"-I{checkout.resolve()}", f"-I{gemmlowp.resolve()}"]
    if CORES[board.core].architecture != "arm":
        # Debian has C++ headers for Arm's bare-metal compiler alone.
        includes += [f"-isystem{folder}" for folder in _headers()]
    return Library(None, compiled(board, [source, common], [*_FLAGS, *includes], folder))


def _headers() -> list[str]:
    said = subprocess.run(
        ["arm-none-eabi-g++", "-mcpu=cortex-m0plus", "-mthumb", "-xc++", "-E", "-v", "/dev/null"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    listed = said.partition("#include <...> search starts here:")[2].partition("End of search list")[0]
    return [line.strip() for line in listed.splitlines() if "/arm-none-eabi/include" in line]


def reference_call(node: Node) -> Call:
    """The layer by the reference kernel."""
    layer, over = layer_of(node)
    numbers = [
        over.in_h, over.in_w, over.in_c, over.out_h, over.out_w, over.out_c, layer.input_zero_point,
        layer.rescalings[0].zero_point, layer.low, layer.high, over.k_h, over.k_w, over.stride_h, over.stride_w,
        over.dilation_h, over.dilation_w, over.pad_h, over.pad_w,
    ]  # fmt: skip
    definitions = (
        constants_of(node, layer) + c_array("other_shape", "int32_t", numbers) + f"void other_layer({_ARGUMENTS});\n"
    )
    return Call(
        definitions,
        f"    other_layer({_KINDS.index(node.name)}, other_shape, other_multipliers, other_shifts, "
        "model_inputs[0].data, other_weights, other_bias, model_outputs[0].data);\n",
    )
