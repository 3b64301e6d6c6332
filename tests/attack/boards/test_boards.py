"""Some hostile boards to every command that speaks to a board; ``make attack`` has more of them."""

from __future__ import annotations

import signal

import pytest

from tests.attack.boards.board_commands import COMMANDS
from tests.attack.boards.handmade_boards import WRONG_BIT
from tests.attack.boards.hostile_boards import CHANGES, Board, generated
from tests.attack.boards.meetings import BAD, COUNT, Verdict, boards, meet
from tests.attack.fresh import in_fresh_process

pytest.importorskip("serial")
WAITED_FOR = ("late", "second", "silence", "time", "ever", "left out", "CRC", "half a frame", "byte by byte", "number")
"""Words in the names of boards that are waited for until the time limit."""


def is_quick(board: Board) -> bool:
    return not any(word in board.name for word in WAITED_FOR)


def met(names: list[str], commands: list[str]) -> list[Verdict]:
    """What became of every command with the boards of those names."""
    return list(meet([board for board in boards(COUNT) if board.name in names], commands))


def bad(verdicts: list[Verdict]) -> list[str]:
    """Those that ended badly; on a busy machine a command may take long, and only one that is ended hangs."""
    return [
        f"{v.kind}: {v.command} with {v.board}: {v.ending}"
        for v in verdicts
        if v.kind in BAD and (v.kind != "hang" or v.ending.code == -signal.SIGALRM)
    ]


def test_there_are_200_distinct_ones_and_every_change_is_among_them() -> None:
    chosen = boards(COUNT)
    assert len({board.name for board in chosen}) == len(chosen) == COUNT
    assert {board.change for board in chosen} >= {change for change, _ in CHANGES.values()}
    assert [board.name for board in generated(50, 1)] != [board.name for board in generated(50, 2)]


def test_a_board_that_is_wrong_ends_every_command_in_a_sentence_or_not_at_all() -> None:
    chosen = [board for board in boards(COUNT) if is_quick(board)]
    picked = [*(board.name for board in chosen[::7]), WRONG_BIT]
    verdicts = in_fresh_process(met, picked, [name for name in COMMANDS if name != "bench"])
    assert bad(verdicts) == []
    assert {v.kind for v in verdicts} == {"answered", "refused"}


def test_a_board_that_keeps_a_command_waiting_is_given_up() -> None:
    names = ("one byte a second", "empty outputs for ever", "silence once asked for INFER")
    assert len([board for board in boards(0) if board.name in names]) == len(names)
    verdicts = in_fresh_process(met, list(names), ["verify"])
    assert bad(verdicts) == []
    assert {v.kind for v in verdicts} == {"refused"}
