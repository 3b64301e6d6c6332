"""Options of binary operators, damaged, through the delegate's own reader with sanitisers.

It gets each block in memory of its very size (``options_reader.c``). Where the check reads a map, both have to
read the same numbers in it.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from multigraft.tflite import tflite_file
from multigraft.tflite.checking.flatbuffer import DamagedError
from multigraft.tflite.checking.flexbuffer import whole_numbers
from multigraft.tflite.operators import BINARY
from tests.attack.mutants.binary_mutants import OptionsMaker
from tests.attack.trials import End, Row

HERE = Path(__file__).parent
CODE = HERE.parents[1] / "runtime" / "delegate" / "c"
KEYS = ("channels_in", "padding", "pad_values", "stride_width", "dilation_height_factor", "filter_height", "none")
BLOCKS = 500
"""For one process: where it ends early, the one that it ended on is known by the lines that it printed."""


def compiled(folder: Path, sanitisers: Iterable[str], source: Path = CODE / "flexbuffer.c") -> Path:
    """The program."""
    target = folder / "options_reader"
    flags = ("-std=c11", "-O1", "-g", *sanitisers, f"-I{CODE}")
    subprocess.run(["gcc", *flags, str(HERE / "options_reader.c"), str(source), "-o", str(target)], check=True)
    return target


def blocks(models: Iterable[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many, made of the options that the models hold."""
    graphs = [graph for model in models for graph in tflite_file.read(model).subgraphs]
    chosen = sorted({op.custom_options for graph in graphs for op in graph.ops if op.custom_code in BINARY})
    maker = OptionsMaker(seed)
    for number in range(count):
        yield maker.damaged(chosen[number % len(chosen)])


def read(program: Path, given: Iterable[bytes]) -> Iterator[tuple[bytes, list[str] | None]]:
    """Each block, and what the reader said of each key; None where it ended on that block."""
    waiting = list(given)
    while waiting:
        some = waiting[:BLOCKS]
        content = b"".join(struct.pack("<I", len(block)) + block for block in some)
        done = subprocess.run(
            [str(program), *KEYS], input=content, capture_output=True, check=False, env={"ASAN_OPTIONS": "symbolize=0"}
        )
        lines = done.stdout.decode().splitlines()
        told = [line.split() for line in lines[: len(some)] if len(line.split()) == len(KEYS)]
        yield from zip(some, told, strict=False)
        if len(told) < len(some):
            if done.returncode == 0:
                raise RuntimeError(f"{program.name} left blocks out")
            yield some[len(told)], None
            told.append([])
        waiting = waiting[len(told) :]


def agreed(block: bytes, told: list[str]) -> bool:
    """Whether the delegate's reader read what the check's does, if that takes the block."""
    try:
        numbers = whole_numbers(block)
    except DamagedError:
        return True
    return all(said == "-" or int(said) == numbers.get(key) for key, said in zip(KEYS, told, strict=True))


def tried(program: Path, given: Iterable[bytes], keep: Path | None = None) -> Row:
    """Try all; ``traceback`` counts where the two readers disagree."""
    row = Row("options in their reader")
    for number, (block, told) in enumerate(read(program, given)):
        kind = "crash" if told is None else "traceback" if not agreed(block, told) else "passed"
        kind = "refused" if kind == "passed" and told == ["-"] * len(KEYS) else kind
        end = End(kind, block.hex()[:120], 0.0, 0.0)
        row.add(end)
        if keep is not None and end.is_bad:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"options-{number}-{kind}").write_bytes(block)
    return row
