"""Depthwise layers beside CMSIS-NN: instructions of both on the same emulated core, and what memory they need.

Usage: python -m tests.benchmarks.firmware_depthwise FOLDER
FOLDER is a checkout of CMSIS-NN (github.com/ARM-software/CMSIS-NN). Both are compiled by the same compiler from the
same int8 .tflite file, which holds one layer. CMSIS-NN is called as TensorFlow Lite Micro calls it, by its wrapper; the
interpreter around it is not counted. Its memory is input, output and the buffer it asks for.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from multigraft.cli.shared.table import print_table
from multigraft.firmware_gen.arithmetic.windowed_layers import depthwise_layer
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.program.program import load
from tests.benchmarks.cmsis_layer import cmsis_call, cmsis_library
from tests.benchmarks.firmware import BOARD
from tests.benchmarks.kernel_beside import Library, beside
from tests.firmware_gen.models import Builder, activation


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


def measure(shape: Shape, library: Library) -> tuple[int, int, int, int]:
    """Our instructions and CMSIS-NN's, our bytes of RAM and its."""
    model = shape.model()
    node = load(model).steps[0].node
    over = depthwise_layer(node)[1]
    ours, theirs, project = beside(model, BOARDS[BOARD], cmsis_call(node), library)
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
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = cmsis_library(parser.parse_args().library, BOARDS[BOARD], Path(folder))
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
