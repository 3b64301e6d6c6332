"""The binary delegate's kernels alone, compiled for another processor and compared there with the portable ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests import debian_root
from tests.arm.root import ARMV7, Processor

CODE = Path("runtime") / "delegate" / "c"
SOURCES = ("kernels_*.c", "dispatch.c")
# As setup.py compiles them; static, so that nothing of the root is needed.
FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fno-math-errno",
    "-Wno-unknown-pragmas",
    "-static",
)
NEON = ("-mfpu=neon", "-DMULTIGRAFT_NEON=1")
"""What a compiler for 32-bit Arm has to be told."""


def compared(processor: Processor, checkout: Path, folder: Path) -> tuple[bool, list[str]]:
    """Compare them.

    Args:
        processor: On which.
        checkout: The repository.
        folder: For the program.

    Returns:
        Whether all sets of kernels are equal, and what the program said of each.

    Raises:
        RuntimeError: It could not be compiled.
    """
    program = folder / f"kernels-{processor.name}"
    compiler = debian_root.COMPILERS[processor.architecture.machine]
    sources = [str(path) for pattern in SOURCES for path in sorted((checkout / CODE).glob(pattern))]
    equal = checkout / "tests" / "runtime" / "delegate" / "kernels_equal.c"
    flags = [*FLAGS, *NEON] if processor.architecture is ARMV7 else [*FLAGS]
    debian_root.run(compiler, *flags, f"-I{checkout / CODE}", str(equal), *sources, "-lm", "-o", str(program))
    qemu = str(shutil.which(processor.architecture.qemu))
    done = subprocess.run([qemu, "-cpu", processor.name, str(program)], capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    return done.returncode == 0 and any(line.startswith("neon ") for line in said), said or [done.stderr]
