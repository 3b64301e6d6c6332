"""What a build prints: the same figures in a pipe and on a terminal, and a width that any terminal has."""

from __future__ import annotations

import io
import re

from multigraft.cli.shared.printed_summary import print_summary
from multigraft.cli.shared.table import print_table
from multigraft.converters.report.summary import Summary
from tests.converters.report.summary_samples import sample


def test_a_pipe_gets_plain_columns_of_an_ordinary_width() -> None:
    stream = io.StringIO()
    print_summary(Summary.from_json(sample(3)), stream)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = text.splitlines()
    worn = next(line for line in lines if line.startswith("worn "))
    assert " ".join(worn.split()) == "worn relative 0.820 93.2 % 93.0 % 92.8 % 99.0 % 98.5 %"
    assert "Energy was not measured: no power sensor was found on this machine." in lines
    assert "digit shares the trunk of garment up to /blocks/blocks.1/Relu_1_output_0." in lines


def test_a_terminal_gets_the_same_figures() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    print_summary(Summary.from_json(sample(3)), stream)
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    for expected in ("garment", "0.710", "98.5 %", "366 kB", "not measured"):
        assert expected in text


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    stream = io.StringIO()
    print_table("Costs", ("of", "bytes"), [("trunk", "1,024"), ("head", "16")], stream=stream)
    assert stream.getvalue() == "Costs\n  of     bytes\n  -----  -----\n  trunk  1,024\n  head      16\n\n"
