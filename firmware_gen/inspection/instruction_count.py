"""Counts the instructions of an inference exactly: in all, per function and per step, by a QEMU plugin of ours.

A step begins at a label in ``model_run`` that costs no instruction. The compiler may prepare a call's arguments before
the label, so a handful of instructions can stand at the step before; the sum is exact.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from multigraft.errors import ConversionError, MissingDependencyError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of

BEGIN, END = "app_marker_begin", "app_marker_end"
NOT_THE_MODEL = ("tick_handler", BEGIN, END, "app_infer")
"""Executed between the markers and no part of an inference: the clock's interrupt, and the way in and out."""


_STEP_LABEL = re.compile(r"mg_step_(\d+)_\d+")


@dataclass(frozen=True)
class Instructions:
    """Instructions of one inference: ``total`` is the sum of ``functions``, and of ``steps`` where there are labels.

    ``steps`` maps the number of a step to its instructions, -1 and the number behind the last one to what runs before
    and after all steps; steps that did not run are not in it.
    """

    total: int
    functions: dict[str, int]
    steps: dict[int, int]


@dataclass(frozen=True)
class _Function:
    start: int
    size: int
    name: str


class InstructionCounter:
    """QEMU options that count, and what was counted.

    Usage::

        counter = InstructionCounter(board, image, folder)
        with EmulatedBoard(board, image, counter.options) as emulated:
            ...                         # run inferences
        runs = counter.runs()

    Args:
        board: The emulated board.
        image: The .elf file, built with the markers of app.c.
        folder: Where the plugin and its output go.

    Raises:
        MissingDependencyError: The cross tools or a C compiler for this machine are missing.
        ConversionError: The image has no markers, or the plugin does not compile.
    """

    def __init__(self, board: Board, image: Path, folder: Path) -> None:
        functions, labels = _symbols(board, image)
        places = {f.name: f.start for f in functions}
        if BEGIN not in places or END not in places:
            raise ConversionError(f"{image} has no markers to count between", "generate the project again")
        self._output = folder / "instructions.txt"
        table = folder / "functions.txt"
        table.write_text("".join(f"{f.start:x} {f.size:x} {f.name}\n" for f in functions))
        steps = folder / "steps.txt"
        steps.write_text("".join(f"{address:x} {number}\n" for address, number in labels))
        plugin = build_plugin(folder)
        arguments = {
            "begin": f"{places[BEGIN]:x}",
            "end": f"{places[END]:x}",
            "functions": str(table),
            "steps": str(steps),
            "output": str(self._output),
        }
        self.options = ("-plugin", ",".join([str(plugin), *(f"{k}={v}" for k, v in arguments.items())]))

    def runs(self) -> list[Instructions]:
        """One entry per inference so far, in order."""
        runs: list[Instructions] = []
        for line in self._output.read_text().splitlines():
            kind, *fields = line.split(" ", 3)
            if kind == "run":
                runs.append(Instructions(0, {}, {}))
            elif fields[2] not in NOT_THE_MODEL:
                runs[-1] = _more(runs[-1], int(fields[0]), int(fields[1]), fields[2])
        return runs


def _more(so_far: Instructions, step: int, count: int, name: str) -> Instructions:
    functions = so_far.functions | {name: so_far.functions.get(name, 0) + count}
    return Instructions(so_far.total + count, functions, so_far.steps | {step: so_far.steps.get(step, 0) + count})


def build_plugin(folder: Path) -> Path:
    """Compile the plugin for this machine into ``folder``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingDependencyError("counting needs a C compiler for this machine", "apt-get install gcc")
    source = (resources.files("multigraft.firmware_gen.project") / "target" / "count_plugin.c").read_text("utf-8")
    plugin = folder / "count_plugin.so"
    command = [
        compiler,
        "-std=c11",
        "-O2",
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        "-x",
        "c",
        "-",
        "-o",
        str(plugin),
    ]
    done = subprocess.run(command, input=source, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ConversionError(f"the counting plugin does not compile: {done.stderr.strip()}", "report it")
    return plugin


def _symbols(board: Board, image: Path) -> tuple[list[_Function], list[tuple[int, int]]]:
    """The functions of an image, and address and number of each step's label."""
    tool = toolchain_of(CORES[board.core]).tool("nm")
    done = subprocess.run([tool, "-S", str(image)], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ConversionError(f"{image} is no image: {done.stderr.strip()}", "build it again")
    functions, labels = [], []
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTwW":
            functions.append(_Function(int(fields[0], 16) & ~1, int(fields[1], 16), fields[3]))
        elif label := _STEP_LABEL.fullmatch(fields[-1]):
            labels.append((int(fields[0], 16) & ~1, int(label[1])))
    return functions, labels


@dataclass(frozen=True)
class Sizes:
    """Bytes of an image: flash is text, constants and initial data."""

    flash: int
    data: int
    bss: int


def image_sizes(board: Board, image: Path) -> Sizes:
    """What an image or a library takes, by the size tool of the toolchain."""
    tool = toolchain_of(CORES[board.core]).tool("size")
    done = subprocess.run([tool, "--totals", str(image)], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ConversionError(f"{image} is no image: {done.stderr.strip()}", "build it again")
    text, data, bss = (int(field) for field in done.stdout.splitlines()[-1].split()[:3])
    return Sizes(text + data, data, bss)
