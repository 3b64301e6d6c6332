"""Every operator by every compiler at every level, run in QEMU and compared with tflite-runtime's reference kernels.

Usage: python -m tests.firmware_gen.compilers.matrix [--core CORE]… [--compiler gcc|clang]… [--level LEVEL]…
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES, CoreFeatures
from multigraft.firmware_gen.boards.qemu import qemu_of
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.inspection.reference import golden_vectors
from multigraft.firmware_gen.program.program import load
from multigraft.firmware_gen.project.compiler_flags import WARNINGS
from multigraft.firmware_gen.project.linker_script import linker_script
from multigraft.firmware_gen.project.project import Project
from multigraft.tensors.arrays import Array
from tests.firmware_gen.compilers.subjects import subjects
from tests.firmware_gen.host import reference, stimuli
from tests.firmware_gen.operators.test_operators import floats

LEVELS = ("-O0", "-O1", "-O2", "-O3", "-Os", "-O2 -flto")
COMPILERS = ("gcc", "clang")
BOARD_OF_CORE = {
    "m0plus": "mps2-an385", "m3": "mps2-an385", "m4": "mps2-an386", "m55": "mps3-an547", "rv32imc": "qemu-virt-rv32",
}  # fmt: skip
"""What runs each core's images in QEMU; a Cortex-M3 executes all that a Cortex-M0+ does."""

CASES = 12
PER_IMAGE = 20
"""Models of one image: the Cortex-M55's board has 512 KiB for code and constants."""
_HERE = Path(__file__).parent
_IMAGE_S = 600


@dataclass(frozen=True)
class Subject:
    """A model with stored inputs and what they have to give, cases one after the other."""

    name: str
    model: bytes
    stored: bytes


def subject(name: str, model: bytes) -> Subject:
    """Random, extreme and golden inputs, answered by the reference interpreter in one sequence."""
    program = load(model)
    golden, _ = golden_vectors(program, 4)
    inputs = [np.concatenate([_made(t.shape, t.dtype, seed), golden[t.name]]) for seed, t in enumerate(program.inputs)]
    answers = reference(model, inputs)
    rows = [np.ascontiguousarray(a.reshape(len(a), -1)).view(np.uint8).reshape(len(a), -1) for a in (*inputs, *answers)]
    return Subject(name, model, np.concatenate(rows, axis=1).tobytes())


def _made(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    if dtype == "float32":
        return floats(shape, seed)[:CASES]
    return stimuli(shape, CASES, seed).view(dtype)


def compiler_command(compiler: str, core: CoreFeatures) -> list[str] | None:
    """The compiler with what makes it emit code for the core; None where it is not installed."""
    chain = toolchain_of(core)
    gcc = shutil.which(f"{chain.prefix}gcc")
    if compiler == "gcc":
        return None if gcc is None else [gcc, *core.gcc_flags, *chain.flags]
    if gcc is None or shutil.which("clang") is None or shutil.which("ld.lld") is None:
        return None
    target = "arm-none-eabi" if core.architecture == "arm" else "riscv32-unknown-elf"
    flags = [f for f in core.gcc_flags if f != "-mthumb" or core.architecture == "arm"]
    return ["clang", f"--target={target}", *flags, *(("-mcmodel=medany",) if core.architecture == "riscv" else ())]


def wrong_subjects(chosen: Sequence[Subject], compiler: str, level: str, core_name: str, folder: Path) -> list[str]:
    """Names of those that answer wrong in any bit, of all images it takes.

    Raises:
        AssertionError: A model does not compile or an image does not end.
    """
    wrong = []
    for first in range(0, len(chosen), PER_IMAGE):
        part = folder / f"{core_name}-{first}-{len(chosen)}"
        part.mkdir(parents=True, exist_ok=True)
        some = chosen[first : first + PER_IMAGE]
        try:
            image = _built(some, compiler, level, core_name, part)
        except AssertionError as error:
            if "will not fit" not in str(error) or len(some) == 1:
                raise
            # Without optimisation code is several times as large.
            for half in (some[: len(some) // 2], some[len(some) // 2 :]):
                wrong += wrong_subjects(half, compiler, level, core_name, part)
        else:
            wrong += _run(image, core_name)
    return wrong


def _built(chosen: Sequence[Subject], compiler: str, level: str, core_name: str, folder: Path) -> Path:
    """The image of some models, compiled in ``folder``."""
    core, board = CORES[core_name], BOARDS[BOARD_OF_CORE[core_name]]
    command = compiler_command(compiler, core)
    assert command is not None
    rows, declared, first = [], [], 0
    units: list[tuple[str, list[str]]] = []
    for number, one in enumerate(chosen):
        own = folder / f"m{number}"
        project = _generated(one.model, core_name)
        own.mkdir(exist_ok=True)
        for name, text in project.files.items():
            (own / name).write_text(text)
        names = ("run", "inputs", "outputs", "tasks", "reset")
        units.append((f"m{number}/model.c", [f"-Dmodel_{n}=m{number}_{n}" for n in names]))
        declared.append(
            f"extern const model_tensor m{number}_inputs[{len(project.inputs)}], "
            f"m{number}_outputs[{len(project.outputs)}];\nint m{number}_run(uint32_t task_mask);"
        )
        size = sum(p.size for p in (*project.inputs, *project.outputs))
        assert len(one.stored) % size == 0
        rows.append(
            f'    {{"{one.name}", m{number}_run, m{number}_inputs, m{number}_outputs, {len(project.inputs)}, '
            f"{len(project.outputs)}, {first}, {len(one.stored) // size}, {(1 << len(project.tasks)) - 1}}},"
        )
        first += len(one.stored)
    (folder / "stored.bin").write_bytes(b"".join(one.stored for one in chosen))
    (folder / "stored.S").write_text(
        '.section .rodata\n.balign 8\n.global stored\nstored:\n.incbin "stored.bin"\n.balign 8\n'
    )
    (folder / "subjects.h").write_text(_header("\n".join(declared), "\n".join(rows), len(chosen)))
    shutil.copy(_HERE / "image.c", folder)
    shutil.copy(str(resources.files("multigraft.firmware_gen.project").joinpath("target/memory.c")), folder)
    (folder / "link.ld").write_text(linker_script(board))
    include = ["-isystem", str(resources.files("multigraft.firmware_gen.project").joinpath("target/freestanding"))]
    flags = [*command, "-std=c11", "-ffunction-sections", "-ffreestanding", "-fbuiltin", *include]
    common = [*level.split(), *WARNINGS.split()]
    jobs = [[*flags, *common, *defined, "-c", name, "-o", f"{name}.o"] for name, defined in units]
    jobs.append([*flags, level.split()[0], "-c", "image.c", "-o", "image.c.o"])
    jobs.append([*flags, "-O1", "-fno-builtin", "-c", "memory.c", "-o", "memory.c.o"])
    if compiler == "gcc":
        jobs[-1].append("-fno-tree-loop-distribute-patterns")
    jobs.append([*command, "-c", "stored.S", "-o", "stored.S.o"])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: _do(job, folder), jobs))
    objects = [*(f"{name}.o" for name, _ in units), "image.c.o", "memory.c.o", "stored.S.o"]
    gcc = compiler_command("gcc", core)
    assert gcc is not None
    library = _do([*gcc, "-print-libgcc-file-name"], folder).strip()
    lto = "-flto" in level
    linker = [*command, *level.split(), *(("-fuse-ld=lld",) if compiler == "clang" else ())] if lto else gcc
    _do(
        [*linker, "-nostdlib", "-nostartfiles", "-static", "-T", "link.ld", *objects, library, "-o", "image.elf"],
        folder,
    )
    return folder / "image.elf"


@cache
def _generated(model: bytes, core_name: str) -> Project:
    """Compilers and levels get the same C."""
    return generate(model, core=CORES[core_name])


def _header(declared: str, rows: str, count: int) -> str:
    return f"""#include <stddef.h>
#include <stdint.h>
typedef struct {{
    const char *name;
    int8_t *data;
    uint32_t bytes;
    float scale;
    int32_t zero_point;
}} model_tensor;
typedef struct {{
    const char *name;
    int (*run)(uint32_t);
    const model_tensor *inputs, *outputs;
    uint32_t input_count, output_count, first, cases, tasks;
}} subject;
{declared}
#define SUBJECTS {count}
static const subject subjects[SUBJECTS] = {{
{rows}
}};
"""


def _do(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:3000]}"
    return done.stdout


def _run(image: Path, core_name: str) -> list[str]:
    board = BOARDS[BOARD_OF_CORE[core_name]]
    assert board.qemu is not None
    semihosting = ("-semihosting-config", "enable=on,target=native") if board.qemu.system == "arm" else ()
    command = [
        qemu_of(board), "-M", board.qemu.machine, *board.qemu.options, "-display", "none", "-monitor", "none",
        "-serial", "stdio", *semihosting, "-kernel", str(image),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_IMAGE_S, stdin=subprocess.DEVNULL
    )
    said = (done.stdout + done.stderr).splitlines()
    assert "done" in said, f"{image}: {said[-5:]}"
    return [line.removeprefix("wrong ") for line in said if line.startswith("wrong ")]


def show(cores: Sequence[str], compilers: Sequence[str], levels: Sequence[str]) -> int:
    """Print a row per compiler and level, a column per core; returns how many models answered wrong."""
    chosen = [subject(name, model) for name, model in subjects().items()]
    count = 0
    print(f"{len(chosen)} models, {CASES + 4} inputs each: answers that differ in any bit", flush=True)
    print(f"{'':<18}" + "".join(f"{CORES[core].name:>14}" for core in cores), flush=True)
    for compiler in compilers:
        for level in levels:
            print(f"{compiler + ' ' + level:<18}", end="", flush=True)
            for core in cores:
                if compiler_command(compiler, CORES[core]) is None:
                    print(f"{'–':>14}", end="", flush=True)
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        wrong = wrong_subjects(chosen, compiler, level, core, Path(folder))
                    except AssertionError as error:
                        wrong = [str(error)]
                count += len(wrong)
                print(f"{len(wrong):>14}", end="", flush=True)
                for name in wrong:
                    print(f"\n    {name}", flush=True)
            print(flush=True)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", action="append", choices=list(BOARD_OF_CORE))
    parser.add_argument("--compiler", action="append", choices=COMPILERS)
    parser.add_argument("--level", action="append", metavar="LEVEL", help="as in --level=-O2")
    options = parser.parse_args()
    wrong = show(options.core or list(BOARD_OF_CORE), options.compiler or COMPILERS, options.level or LEVELS)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
