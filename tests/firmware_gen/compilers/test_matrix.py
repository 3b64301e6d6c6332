"""A short form of the compiler matrix: levels at which optimisers differ most, on cores with kernels of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from multigraft.firmware_gen.operators import OPERATORS
from multigraft.firmware_gen.program.program import load
from tests.firmware_gen.compilers.matrix import COMPILERS, Subject, compiler_command, subject, wrong_subjects
from tests.firmware_gen.compilers.subjects import subjects


@pytest.fixture(scope="module")
def chosen() -> list[Subject]:
    """Every eighth model, the networks among them."""
    made = list(subjects().items())
    return [subject(name, model) for name, model in (*made[:-6:8], *made[-6:])]


@pytest.mark.parametrize(("core", "level"), [("m3", "-O2"), ("m4", "-O0"), ("m55", "-O0"), ("rv32imc", "-O2 -flto")])
def test_answers_are_the_same_with_every_compiler(core: str, level: str, chosen: list[Subject], tmp_path: Path) -> None:
    installed = [compiler for compiler in COMPILERS if compiler_command(compiler, CORES[core]) is not None]
    if not installed:
        pytest.skip(f"firmware tools: install {' '.join(APT_PACKAGES)}")
    for compiler in installed:
        assert wrong_subjects(chosen, compiler, level, core, tmp_path / compiler) == []


def test_every_operator_is_among_the_models() -> None:
    used = {step.node.name for model in subjects().values() for step in load(model).steps}
    assert used == set(OPERATORS)
