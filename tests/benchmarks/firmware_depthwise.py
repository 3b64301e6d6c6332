"""Depthwise layers beside CMSIS-NN: instructions of both on the same emulated core, and what memory they need.

Usage: python -m tests.benchmarks.firmware_depthwise FOLDER
FOLDER is a checkout of CMSIS-NN (github.com/ARM-software/CMSIS-NN). Both are compiled by the same compiler from the
same int8 .tflite file, which holds one layer. CMSIS-NN is called as TensorFlow Lite Micro calls it, by its wrapper; the
interpreter around it is not counted. Its memory is input, output and the buffer it asks for.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.arithmetic.accumulators import Layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.windowed_layers import depthwise_layer
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.program.program import Node, load
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from tests.benchmarks.firmware import BOARD
from tests.firmware_gen.counting import count_instructions
from tests.firmware_gen.models import Builder, activation

_SOURCES = (
    "ConvolutionFunctions/arm_depthwise_conv_wrapper_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_3x3_s8.c",
    "ConvolutionFunctions/arm_depthwise_conv_s8_opt.c",
    "ConvolutionFunctions/arm_depthwise_conv_get_buffer_sizes_s8.c",
    "ConvolutionFunctions/arm_nn_depthwise_conv_s8_core.c",
    "NNSupportFunctions/arm_q7_to_q15_with_offset.c",
)
_WARNINGS = "-Wall -Wextra -Werror -Wconversion -Wno-sign-conversion"


@dataclass(frozen=True)
class Shape:
    """A layer: height and width, input channels, kernel, strides, outputs per input channel, dilation, padding."""

    size: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    multiplier: int = 1
    dilation: int = 1
    padding: str = "SAME"

    @property
    def text(self) -> str:
        """As the table shows it."""
        more = [f"stride {self.stride}"] if self.stride > 1 else []
        more += [f"multiplier {self.multiplier}"] if self.multiplier > 1 else []
        more += [f"dilation {self.dilation}"] if self.dilation > 1 else []
        more += ["VALID"] if self.padding == "VALID" else []
        sides = (f"{a} x {b}" for a, b in (self.kernel, self.size))
        return ", ".join([f"{next(sides)} on {next(sides)} x {self.channels}", *more])

    def model(self) -> bytes:
        """The layer as a .tflite file, with made weights."""
        b = Builder(1)
        b.add(activation("in", (1, *self.size, self.channels), 0.03, -7))
        b.conv(
            "out", "in", self.channels * self.multiplier, kernel=self.kernel, stride=self.stride, depthwise=True,
            dilation=self.dilation, padding=self.padding,
        )  # fmt: skip
        return b.model(["in"], ["out"])


SHAPES = (
    Shape((24, 24), 16, (3, 3)),
    Shape((24, 24), 16, (3, 3), stride=2),
    Shape((24, 24), 16, (3, 3), stride=3),
    Shape((20, 20), 16, (3, 3), dilation=2),
    Shape((24, 24), 8, (3, 3), multiplier=4),
    Shape((6, 6), 64, (3, 3)),
    Shape((3, 3), 64, (3, 3)),
    Shape((24, 24), 16, (5, 5)),
    Shape((24, 24), 16, (5, 5), stride=2),
    Shape((12, 12), 16, (7, 7)),
    Shape((7, 7), 32, (7, 7), padding="VALID"),
    Shape((49, 40), 2, (10, 8), stride=2, multiplier=4),
    Shape((32, 1), 32, (9, 1)),
    Shape((1, 64), 32, (1, 5)),
    Shape((14, 14), 16, (2, 2), stride=2, padding="VALID"),
)


def _array(name: str, kind: str, values: Sequence[int]) -> str:
    return f"static const {kind} {name}[] = {{{', '.join(map(str, values))}}};\n"


def _call(node: Node, layer: Layer, over: Window) -> tuple[str, str]:
    """Definitions, and statements that run the layer by CMSIS-NN."""
    weights, bias = node.input(1).data, node.input(2).data
    assert weights is not None and bias is not None
    constants = (
        '#include "arm_nnfunctions.h"\n'
        + _array("other_weights", "int8_t", weights.reshape(-1).tolist())
        + _array("other_bias", "int32_t", bias.tolist())
        + _array("other_multipliers", "int32_t", [r.multiplier for r in layer.rescalings])
        + _array("other_shifts", "int32_t", [r.shift for r in layer.rescalings])
        + "static int32_t other_buffer[8192];\n"
    )
    zero_point = layer.rescalings[0].zero_point
    statements = f"""
    const cmsis_nn_dims source = {{1, {over.in_h}, {over.in_w}, {over.in_c}}};
    const cmsis_nn_dims filter = {{1, {over.k_h}, {over.k_w}, {over.out_c}}}, biases = {{1, 1, 1, {over.out_c}}};
    const cmsis_nn_dims result = {{1, {over.out_h}, {over.out_w}, {over.out_c}}};
    const cmsis_nn_dw_conv_params by = {{{-layer.input_zero_point}, {zero_point}, {over.out_c // over.in_c},
        {{{over.stride_w}, {over.stride_h}}}, {{{over.pad_w}, {over.pad_h}}}, {{{over.dilation_w}, {over.dilation_h}}},
        {{{layer.low}, {layer.high}}}}};
    const cmsis_nn_per_channel_quant_params scales = {{(int32_t *)other_multipliers, (int32_t *)other_shifts}};
    const cmsis_nn_context context = {{other_buffer, sizeof other_buffer}};
    arm_depthwise_conv_wrapper_s8(&context, &by, &scales, &source, model_inputs[0].data, &filter, other_weights,
        &biases, other_bias, &result, model_outputs[0].data);
"""
    return constants, statements


def measure(shape: Shape, library: Path) -> tuple[int, int, int, int]:
    """Our instructions and CMSIS-NN's, our bytes of RAM and its."""
    model, board = shape.model(), BOARDS[BOARD]
    project = generate(model, core=CORES[board.core], name="layer")
    node = load(model).steps[0].node
    layer, over = depthwise_layer(node)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folder(project, board, "0" * 64, folder)
        build_folder(folder, "PROTOCOL=bench")
        image = folder / "build/bench/firmware.elf"
        ours = count_instructions(board, image).steps[0]
        source = folder / "src/model.c"
        constants, statements = _call(node, layer, over)
        text = re.sub(r"(STEP\(0\);[^\n]*\n)[^\n]*\n", lambda found: found[1] + statements, source.read_text(), count=1)
        source.write_text(text.replace("int model_run", f"{constants}int model_run", 1))
        shutil.copytree(library / "Include", folder / "src", dirs_exist_ok=True)
        for one in _SOURCES:
            shutil.copy(library / "Source" / one, folder / "src")
        makefile = folder / "Makefile"
        makefile.write_text(makefile.read_text().replace(_WARNINGS, "-w"))
        subprocess.run(["make", "-C", name, "PROTOCOL=bench"], check=True, stdout=subprocess.DEVNULL)
        theirs = count_instructions(board, image).steps[0]
    plain = shape.multiplier == shape.dilation == 1
    buffer_bytes = 2 * over.in_c * over.k_h * over.k_w if plain and shape.kernel != (3, 3) else 0
    return (
        ours,
        theirs,
        project.arena_bytes,
        (over.in_h * over.in_w * over.in_c + over.pixels() * over.out_c) + buffer_bytes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path, metavar="FOLDER")
    library = parser.parse_args().library
    rows = []
    for shape in SHAPES:
        ours, theirs, ram, other = measure(shape, library)
        counts = [f"{ours / 1e3:.1f}", f"{theirs / 1e3:.1f}", f"{ours / theirs:.2f}"]
        rows.append([shape.text, *counts, str(ram), str(other), f"{ram / other:.2f}"])
    print_table(
        f"{BOARD} in QEMU: one depthwise layer, and CMSIS-NN's",
        ("kernel on image", "instructions, thousands", "CMSIS-NN", "ratio", "RAM, bytes", "CMSIS-NN", "ratio"),
        rows,
    )


if __name__ == "__main__":
    main()
