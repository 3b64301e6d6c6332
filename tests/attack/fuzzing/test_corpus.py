"""What fuzzing reached before stays refused or read: the corpus of every target, without the fuzzer."""

from __future__ import annotations

import contextlib

import pytest

from multigraft.errors import MultigraftError
from tests.attack.fuzzing import corpus
from tests.attack.fuzzing.targets import NAMES, target


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_read_or_refused(name: str) -> None:
    reader, inputs = target(name), corpus.load(name)
    assert len(inputs) > 10
    assert (corpus.FOLDER / f"{name}.zip").stat().st_size <= corpus.MOST_BYTES + corpus.LARGEST_INPUT
    for data in inputs.values():
        with contextlib.suppress(MultigraftError):
            reader.run(data)


@pytest.mark.parametrize("name", NAMES)
def test_good_inputs_are_read(name: str) -> None:
    reader, read = target(name), 0
    for data in reader.seeds().values():
        with contextlib.suppress(MultigraftError):
            reader.run(data)
            read += 1
    assert read >= len(reader.seeds()) - 1
