"""A layer by the generated kernel and by another library's: instructions of both on the same emulated core."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.arithmetic.accumulators import Layer, dense_layer
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.windowed_layers import convolution_layer, depthwise_layer
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.program.program import Node
from multigraft.firmware_gen.project.compiler_flags import WARNINGS, core_flags
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.firmware_gen.project.project import Project
from tests.firmware_gen.counting import count_instructions


@dataclass(frozen=True)
class Library:
    """What the other kernels are linked from.

    Attributes:
        include: A folder with their headers; None where the project needs none.
        objects: They themselves, compiled.
    """

    include: Path | None
    objects: tuple[Path, ...]


@dataclass(frozen=True)
class Call:
    """C that runs a layer by the other library: definitions, and statements in place of the step's."""

    definitions: str
    statements: str


def compiled(board: Board, sources: Sequence[Path], flags: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Objects of C sources, or of C++ ones, for the board's core at -O2, in ``folder``."""
    made = []
    for source in sources:
        compiler = toolchain_of(CORES[board.core]).prefix + ("g++" if source.suffix == ".cc" else "gcc")
        to = folder / f"{source.stem}.o"
        options = ["-O2", "-ffunction-sections", "-fdata-sections", "-w", *flags, "-c", str(source), "-o", str(to)]
        subprocess.run([compiler, *core_flags(board).split(), *options], check=True)
        made.append(to)
    return tuple(made)


def beside(model: bytes, board: Board, call: Call, library: Library) -> tuple[int, int, Project]:
    """Instructions of the model's first step as it is generated, and of the call in its place."""
    project = generate(model, core=CORES[board.core], name="layer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folder(project, board, "0" * 64, folder)
        build_folder(folder, "PROTOCOL=bench")
        image = folder / "build/bench/firmware.elf"
        ours = count_instructions(board, image).steps[0]
        source = folder / "src/model.c"
        step = re.compile(r"(STEP\(0\);[^\n]*\n)[^\n]*\n")
        text = step.sub(lambda found: found[1] + call.statements, source.read_text(), count=1)
        source.write_text(text.replace("int model_run", f"{call.definitions}int model_run", 1))
        makefile = folder / "Makefile"
        said = makefile.read_text().replace(WARNINGS, "-w")
        said = said.replace(" -lgcc -o", f" {' '.join(map(str, library.objects))} -lgcc -o")
        makefile.write_text(said if library.include is None else said.replace("-Isrc", f"-Isrc -I{library.include}"))
        subprocess.run(["make", "-C", name, "PROTOCOL=bench"], check=True, stdout=subprocess.DEVNULL)
        return ours, count_instructions(board, image).steps[0], project


def layer_of(node: Node) -> tuple[Layer, Window]:
    """The layer of a CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED of one row, and its window."""
    if node.name == "CONV_2D":
        return convolution_layer(node)
    if node.name == "DEPTHWISE_CONV_2D":
        return depthwise_layer(node)
    units, depth = node.input(1).shape
    return dense_layer(node), Window(1, 1, depth, 1, 1, units, 1, 1)


def constants_of(node: Node, layer: Layer) -> str:
    """Definitions of weights, biases, multipliers and shifts as .tflite files hold them."""
    weights, offset = node.input(1).data, node.inputs[2] if len(node.inputs) > 2 else None
    bias = np.zeros(len(layer.weights), np.int64) if offset is None or offset.data is None else offset.data
    assert weights is not None
    return (
        c_array("other_weights", "int8_t", weights.reshape(-1).tolist())
        + c_array("other_bias", "int32_t", bias.reshape(-1).tolist())
        + c_array("other_multipliers", "int32_t", [r.multiplier for r in layer.rescalings])
        + c_array("other_shifts", "int32_t", [r.shift for r in layer.rescalings])
    )


def c_array(name: str, kind: str, values: Sequence[int]) -> str:
    """A constant array."""
    return f"static const {kind} {name}[] = {{{', '.join(map(str, values))}}};\n"
