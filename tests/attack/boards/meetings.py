"""Hostile boards against every command that speaks to one; a table of how they end.

Each command runs in a process of its own with 200 MB of memory more than it begins with. An answer is what one method
of ``Target`` waits for; a command has several of them.
"""

from __future__ import annotations

import collections
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.attack.boards.board_commands import Command, Ending, Meeting, Workstation
from tests.attack.boards.handmade_boards import WRONG_BIT, handmade
from tests.attack.boards.hostile_boards import Board, generated

COUNT = 220
HANG_S = 10
MOST_KIB = 300 << 10
AT_ONCE = 8
"""They wait most of the time."""
TIMELESS = ("run", "bench")
"""Commands that print times, which differ from run to run."""
REFUSED = 2
DIFFERS = 1
"""Exit code of ``firmware verify`` where outputs differ."""
BAD = ("wrong", "traceback", "hang", "crash", "memory", "unclear")


Job = tuple[Board | None, str, str, Command]
"""A board (None for a faithful one), a command's name, the board it expects, and the command."""


@dataclass(frozen=True)
class Verdict:
    """How a command ended with a board."""

    board: str
    command: str
    kind: str
    ending: Ending


def boards(count: int, seed: int = 0) -> list[Board]:
    """The handmade boards and as many generated ones as are left."""
    made = handmade()
    return [*made, *generated(max(0, count - len(made)), seed)]


def meet(chosen: Sequence[Board], only: Sequence[str] = ()) -> Iterator[Verdict]:
    """Let commands (all by default) speak with boards, a faithful one first.

    Raises:
        AssertionError: A command fails with the faithful board.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            name: command for name, command in Workstation(Path(folder)).commands().items() if not only or name in only
        }
        right: dict[str, str] = {}
        plain: list[Job] = [(None, name, *command) for name, command in commands.items()]
        for _, name, port, ending in _ended(plain, 1):
            assert (ending.code, ending.err) == (0, ""), (name, ending)
            right[name] = ending.out.replace(port, "PORT")
        jobs: list[Job] = [(board, name, *command) for board in chosen for name, command in commands.items()]
        for board, name, port, ending in _ended(jobs, AT_ONCE):
            assert board is not None
            yield Verdict(board.name, name, _kind(board, name, port, ending, right[name]), ending)


def _ended(jobs: list[Job], at_once: int) -> Iterator[tuple[Board | None, str, str, Ending]]:
    """Board, command, port and how it ended, as they end."""
    waiting = collections.deque(jobs)
    running: list[tuple[Board | None, str, Meeting]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            board, name, expected, command = waiting.popleft()
            running.append((board, name, Meeting(command, expected, board)))
        time.sleep(0.02)
        for entry in list(running):
            board, name, meeting = entry
            if (ending := meeting.ended()) is not None:
                running.remove(entry)
                yield board, name, meeting.port, ending


def _kind(board: Board, name: str, port: str, ending: Ending, right: str) -> str:
    """``answered`` or ``refused``, or what is bad."""
    if ending.code == -signal.SIGALRM or ending.answer_s > HANG_S:
        return "hang"
    if ending.code < 0:
        return "crash"
    foreseen = (0, REFUSED, DIFFERS) if name == "verify" else (0, REFUSED)
    if "Traceback" in ending.err or "defect" in ending.err or ending.code not in foreseen:
        return "traceback"
    if ending.peak_kib > MOST_KIB:
        return "memory"
    if any(not c.isprintable() and c != "\n" for c in ending.out + ending.err):
        return "unclear"
    if ending.code == REFUSED:
        said = ending.err.splitlines()
        is_clear = len(said) == 1 and said[0].startswith("multigraft: ") and said[0].endswith(".") and port in said[0]
        return "refused" if is_clear else "unclear"
    if name == "verify" and board.name == WRONG_BIT and ending.code != DIFFERS:
        return "wrong"
    if board.is_honest and name not in TIMELESS and ending.out.replace(port, "PORT") != right:
        return "wrong"
    return "answered"


def campaign(count: int = COUNT, seed: int = 0) -> int:
    """Print how every command ends with so many boards; how many end badly."""
    chosen = boards(count, seed)
    table: dict[str, collections.Counter[str]] = {}
    bad: list[Verdict] = []
    endings: list[Ending] = []
    for verdict in meet(chosen):
        table.setdefault(verdict.command, collections.Counter())[verdict.kind] += 1
        endings.append(verdict.ending)
        if verdict.kind in BAD:
            bad.append(verdict)
    columns = ("answered", "refused", *BAD)
    print(f"{len(chosen)} hostile boards")
    print(f"{'':16}" + "".join(f"{column:>11}" for column in columns))
    for name, counted in table.items():
        print(f"{name:16}" + "".join(f"{counted[column]:11}" for column in columns))
    print(
        f"longest answer {max(e.answer_s for e in endings):.1f} s, longest command "
        f"{max(e.command_s for e in endings):.1f} s, peak {max(e.peak_kib for e in endings) >> 10} MiB"
    )
    for verdict in bad[:40]:
        last = (verdict.ending.err.strip().splitlines() or [verdict.ending.out[-200:]])[-1]
        print(f"{verdict.kind}: {verdict.command} with {verdict.board}: code {verdict.ending.code}, {last!r}")
    return len(bad)
