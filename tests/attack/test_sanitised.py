"""Damaged binary networks are refused or run, and the delegate touches nothing that is not its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack import options_blocks, sanitised
from tests.attack.mutants.binary_mutants import BinaryMutator, OptionsMutator
from tests.attack.mutants.mutator import Mutator


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, whose code takes gcc some seconds."""
    return sanitised.compiled(tmp_path_factory.mktemp("sanitised"))


def test_mutants_of_binary_networks_end_well(built: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert sanitised.run(mutants=24, seed=1, built=built) == 0, capfd.readouterr().out


def test_the_sanitisers_are_in_the_library(built: Path) -> None:
    shown = subprocess.run(["nm", "-D", str(built)], capture_output=True, text=True, check=True).stdout
    assert "__asan_report_load4" in shown and "__ubsan_handle_" in shown


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("if (types + i >= size) return false;", ""),
        ("width > b.size - at || ", ""),
        ("int64_t)(held << shift)", "int64_t)(held + 1 << shift)"),
    ],
    ids=["types", "numbers", "wrong number"],
)
def test_a_fault_of_the_reader_of_options_is_seen(check: str, without: str, tmp_path: Path) -> None:
    source = (options_blocks.CODE / "flexbuffer.c").read_text()
    assert check in source
    faulty = tmp_path / "faulty.c"
    faulty.write_text(source.replace(check, without))
    program = options_blocks.compiled(tmp_path, sanitised.SANITISERS, faulty)
    blocks = list(options_blocks.blocks(sanitised.seeds().values(), 3000, 1))
    assert options_blocks.tried(program, blocks).bad
    whole = options_blocks.compiled(tmp_path, sanitised.SANITISERS)
    assert not options_blocks.tried(whole, blocks).bad


@pytest.mark.parametrize("make", [BinaryMutator, OptionsMutator])
def test_equal_seeds_give_equal_mutants(make: Callable[[bytes, int], Mutator]) -> None:
    data = sanitised.seeds()["binary 3"]
    one, same, other = ([m.mutant() for _ in range(20)] for m in (make(data, 1), make(data, 1), make(data, 2)))
    assert one == same != other and data not in one
