"""The plugin counts the very instructions of an emulated program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import debian_root
from tests.arm.instructions import counted, plugin, without

PROGRAM = """
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        long left = atol(arguments[i]);
        getppid();
        __asm__ volatile("1: subs %0, %0, #1\\n b.ne 1b" : "+r"(left) : : "cc");
        getppid();
    }
    return 0;
}
"""
COMPILER = debian_root.COMPILERS["aarch64"]
pytestmark = [
    pytest.mark.skipif(without() is not None, reason=f"arm: {without()}"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"arm: there is no {COMPILER}"),
]


@pytest.mark.parametrize("processor", ["cortex-a53", "cortex-a72"])
def test_two_instructions_a_turn_are_counted(processor: str, tmp_path: Path) -> None:
    source, program = tmp_path / "turns.c", tmp_path / "turns"
    source.write_text(PROGRAM)
    debian_root.run(COMPILER, "-O1", "-static", str(source), "-o", str(program))
    few, many, again = counted(plugin(tmp_path), processor, str(program), "1000", "51000", "1000")
    assert many - few == 2 * 50_000 and again == few


def test_a_program_that_fails_is_no_figure(tmp_path: Path) -> None:
    source, program = tmp_path / "fails.c", tmp_path / "fails"
    source.write_text("int main(void) { return 3; }")
    debian_root.run(COMPILER, "-static", str(source), "-o", str(program))
    with pytest.raises(RuntimeError, match="failed"):
        counted(plugin(tmp_path), "cortex-a53", str(program))
