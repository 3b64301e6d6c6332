"""Layers by CMSIS-NN, called as TensorFlow Lite Micro calls it: by its wrappers."""

from __future__ import annotations

from pathlib import Path

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.program.program import Node
from tests.benchmarks.kernel_beside import Call, Library, c_array, compiled, constants_of, layer_of

_CONVOLUTION = (
    "convolve_wrapper_s8", "convolve_s8", "convolve_1x1_s8", "convolve_1x1_s8_fast", "convolve_1_x_n_s8",
    "depthwise_conv_wrapper_s8", "depthwise_conv_s8", "depthwise_conv_3x3_s8", "depthwise_conv_s8_opt",
    "depthwise_conv_get_buffer_sizes_s8", "nn_depthwise_conv_s8_core", "nn_mat_mult_kernel_s8_s16",
    "nn_mat_mult_kernel_row_offset_s8_s16", "convolve_get_buffer_sizes_s8",
)  # fmt: skip
_SUPPORT = (
    "q7_to_q15_with_offset", "s8_to_s16_unordered_with_offset", "nn_mat_mult_nt_t_s8", "nn_mat_mul_core_4x_s8",
    "nn_mat_mul_core_1x_s8", "nn_vec_mat_mult_t_s8", "nn_depthwise_conv_nt_t_s8", "nn_depthwise_conv_nt_t_padded_s8",
)  # fmt: skip


def cmsis_library(checkout: Path, board: Board, folder: Path) -> Library:
    """The kernels of a checkout of CMSIS-NN, compiled in ``folder``."""
    sources = [checkout / "Source/ConvolutionFunctions" / f"arm_{name}.c" for name in _CONVOLUTION]
    sources += [checkout / "Source/NNSupportFunctions" / f"arm_{name}.c" for name in _SUPPORT]
    sources.append(checkout / "Source/FullyConnectedFunctions/arm_fully_connected_s8.c")
    sources.append(checkout / "Source/TransposeFunctions/arm_transpose_s8.c")
    include = checkout.resolve() / "Include"
    return Library(include, compiled(board, sources, ["-std=c11", f"-I{include}"], folder))


def cmsis_call(node: Node) -> Call:
    """The layer by CMSIS-NN."""
    layer, over = layer_of(node)
    definitions = '#include "arm_nnfunctions.h"\n' + constants_of(node, layer) + "static int32_t other_buffer[8192];\n"
    zero_point, one = layer.rescalings[0].zero_point, layer.rescalings[0]
    limits, data = f"{{{layer.low}, {layer.high}}}", "model_inputs[0].data"
    common = f"""
    const cmsis_nn_dims source = {{1, {over.in_h}, {over.in_w}, {over.in_c}}}, biases = {{1, 1, 1, {over.out_c}}};
    const cmsis_nn_dims result = {{1, {over.out_h}, {over.out_w}, {over.out_c}}};
    const cmsis_nn_per_channel_quant_params scales = {{(int32_t *)other_multipliers, (int32_t *)other_shifts}};
"""
    ends = "&biases, other_bias, &result, model_outputs[0].data);\n"
    if node.name == "FULLY_CONNECTED":
        # Kernels for Helium begin with these sums, which are made when the model is loaded; others leave them alone.
        return Call(
            definitions + c_array("other_sums", "int32_t", layer.bias.tolist()),
            f"""{common}
    const cmsis_nn_dims filter = {{{over.in_c}, 1, 1, {over.out_c}}};
    const cmsis_nn_fc_params by = {{{-layer.input_zero_point}, 0, {zero_point}, {limits}}};
    const cmsis_nn_per_tensor_quant_params scale = {{{one.multiplier}, {one.shift}}};
    const cmsis_nn_context context = {{(void *)other_sums, sizeof other_sums}};
    (void)scales;
    arm_fully_connected_s8(&context, &by, &scale, &source, {data}, &filter, other_weights, {ends}""",
        )
    tiles = (
        f"{{{over.stride_w}, {over.stride_h}}}, {{{over.pad_w}, {over.pad_h}}}, "
        f"{{{over.dilation_w}, {over.dilation_h}}}, {limits}"
    )
    deep = node.name == "DEPTHWISE_CONV_2D"
    times = f"{over.out_c // over.in_c}, " if deep else ""
    first, last = (1, over.out_c) if deep else (over.out_c, over.in_c)
    return Call(
        definitions,
        f"""{common}
    const cmsis_nn_dims filter = {{{first}, {over.k_h}, {over.k_w}, {last}}};
    const cmsis_nn_{"dw_" if deep else ""}conv_params by = {{{-layer.input_zero_point}, {zero_point}, {times}{tiles}}};
    const cmsis_nn_context context = {{other_buffer, sizeof other_buffer}};
    arm_{"depthwise_conv" if deep else "convolve"}_wrapper_s8(&context, &by, &scales, &source, {data},
        &filter, other_weights, {ends}""",
    )
