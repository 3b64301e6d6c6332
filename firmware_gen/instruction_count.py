"""Counts the instructions of an inference exactly, in all and per function, by a QEMU plugin of ours."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from multigraft.errors import ConversionError, MissingDependencyError
from multigraft.firmware_gen.boards import Board
from multigraft.firmware_gen.cores import CORES
from multigraft.firmware_gen.qemu import EmulatedBoard
from multigraft.firmware_gen.toolchain import toolchain_of

BEGIN, END = "app_marker_begin", "app_marker_end"
NOT_THE_MODEL = ("tick_handler", BEGIN, END, "app_infer")
"""Executed between the markers and no part of an inference: the clock's interrupt, and the way in and out."""


@dataclass(frozen=True)
class Instructions:
    """Of one inference. ``total`` is the sum of ``functions``."""

    total: int
    functions: dict[str, int]


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
        image: The .elf file, built with the markers of app.c.
        folder: For the plugin and its output.

    Raises:
        MissingDependencyError: The cross tools or a C compiler for this machine are missing.
        ConversionError: The image has no markers, or the plugin does not compile.
    """

    def __init__(self, board: Board, image: Path, folder: Path) -> None:
        functions = _functions(board, image)
        places = {f.name: f.start for f in functions}
        if BEGIN not in places or END not in places:
            raise ConversionError(f"{image} has no markers to count between", "generate the project again")
        self._output = folder / "instructions.txt"
        table = folder / "functions.txt"
        table.write_text("".join(f"{f.start:x} {f.size:x} {f.name}\n" for f in functions))
        plugin = build_plugin(folder)
        arguments = {
            "begin": f"{places[BEGIN]:x}",
            "end": f"{places[END]:x}",
            "functions": str(table),
            "output": str(self._output),
        }
        self.options = ("-plugin", ",".join([str(plugin), *(f"{k}={v}" for k, v in arguments.items())]))

    def runs(self) -> list[Instructions]:
        """One entry per inference so far, in order."""
        found: list[dict[str, int]] = []
        for line in self._output.read_text().splitlines():
            kind, count, *name = line.split(" ", 2)
            if kind == "run":
                found.append({})
            elif name[0] not in NOT_THE_MODEL:
                found[-1][name[0]] = found[-1].get(name[0], 0) + int(count)
        return [Instructions(sum(functions.values()), functions) for functions in found]


def build_plugin(folder: Path) -> Path:
    """Compile the plugin for this machine into ``folder``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingDependencyError("counting needs a C compiler for this machine", "apt-get install gcc")
    source = (resources.files("multigraft.firmware_gen") / "target" / "count_plugin.c").read_text("utf-8")
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
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConversionError(f"the counting plugin does not compile: {done.stderr.strip()}", "report it")
    return plugin


def _functions(board: Board, image: Path) -> list[_Function]:
    tool = toolchain_of(CORES[board.core]).tool("nm")
    done = subprocess.run([tool, "-S", str(image)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConversionError(f"{image} is no image: {done.stderr.strip()}", "build it again")
    found = []
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTwW":
            found.append(_Function(int(fields[0], 16) & ~1, int(fields[1], 16), fields[3]))
    return found


@dataclass(frozen=True)
class Sizes:
    """Bytes of an image: flash is text, constants and initial data."""

    flash: int
    data: int
    bss: int


def image_sizes(board: Board, image: Path) -> Sizes:
    """What an image takes, by the size tool of the toolchain."""
    tool = toolchain_of(CORES[board.core]).tool("size")
    done = subprocess.run([tool, str(image)], capture_output=True, text=True, check=True)
    text, data, bss = (int(field) for field in done.stdout.splitlines()[1].split()[:3])
    return Sizes(text + data, data, bss)


def count_instructions(board: Board, image: Path) -> Instructions:
    """Boot an image built with ``make PROTOCOL=bench`` in QEMU and count one inference of all tasks, on zeros."""
    try:
        serial = importlib.import_module("serial")
    except ImportError:
        raise MissingDependencyError("counting needs pyserial", "pip install 'multigraft[flash]'") from None
    with tempfile.TemporaryDirectory() as name:
        counter = InstructionCounter(board, image, Path(name))
        emulated = EmulatedBoard(board, image, counter.options)
        with emulated, serial.Serial(emulated.port, 115200, timeout=120) as port:
            emulated.resume()
            ready = port.read(1)
            port.write(b".")
            if (ready, port.read(1)) != (b"r", b"d"):
                raise ConversionError("the emulated board does not answer", "build it with make PROTOCOL=bench")
        return counter.runs()[0]
