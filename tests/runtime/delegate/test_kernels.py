"""Kernels alone, compiled in other ways than the installation does, give what the portable ones give."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
SOURCES = REPOSITORY / "runtime" / "delegate" / "c"
FLAGS = ("-std=c11", "-ffp-contract=off", "-Wno-unknown-pragmas", f"-I{SOURCES}")


COMPILERS = ["gcc", *(["clang"] if shutil.which("clang") else [])]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_checked_kernels_equal_the_portable_ones(compiler: str, tmp_path: Path) -> None:
    """Sanitisers use up registers: what compilers do when there are none left is tried, too."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not here")
    program = tmp_path / "kernels_equal"
    sources = [*SOURCES.glob("kernels_*.c"), SOURCES / "dispatch.c", Path(__file__).with_name("kernels_equal.c")]
    checks = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=undefined")
    command = [compiler, *checks, *FLAGS, *map(str, sources), "-o", str(program), "-lm"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ubsan" in compiled.stderr and compiled.returncode != 0:
        pytest.skip(f"{compiler} is here without its sanitisers")
    assert compiled.returncode == 0, compiled.stderr[-1000:]
    ended = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-1000:]
    assert "portable equals portable" in ended.stdout
