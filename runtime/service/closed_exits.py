"""Exits that their audit closed stay closed when the service starts again, until somebody opens them.

A file of the state folder says which exits of which bundle are closed and what was seen. It is written whole or not at
all. A bundle that is built anew has another digest, and promises of its own, so that its exits begin open; one that is
rolled back to finds its own as they were.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from multigraft import files
from multigraft.errors import InputError
from multigraft.json_decoding import decode
from multigraft.reading import printable, regular_file
from multigraft.runtime.deploy import store
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.service.journal import NOTICE, WARNING, Journal

FILE = "closed_exits.json"
_MOST_BYTES = 1 << 20
_KEPT = 64
"""Bundles of which it is known; the ones that were closed last."""
_LOCK = "closed_exits"
REOPENS = "multigraft exits --reopen opens it"
REOPENS_ALL = "multigraft exits --reopen removes it, which opens all"


@dataclass(frozen=True)
class ClosedExit:
    """One of them.

    Attributes:
        bundle: SHA-256 of the bundle.
        exit: Its segment.
        task: Whose exit it is.
        audited: Frames that ran to the end as well.
        disagreed: How many of them the whole network answered otherwise.
        max_disagreement: What was promised, a share.
        closed_at: ISO 8601, UTC.
    """

    bundle: str
    exit: str
    task: str
    audited: int
    disagreed: int
    max_disagreement: float
    closed_at: str

    @property
    def sentence(self) -> str:
        """What was seen, for people, without a full stop."""
        return (
            f"exit {printable(self.exit)} of task {printable(self.task)} is closed since {printable(self.closed_at)}: "
            f"{self.disagreed} of {self.audited} audited frames disagreed, and at most "
            f"{100 * self.max_disagreement:g} % were promised"
        )


def read_closed(state: Path) -> tuple[ClosedExit, ...]:
    """All of them, in the order in which they were closed.

    Raises:
        InputError: The file is there and cannot be read, or is none.
    """
    path = state / FILE
    try:
        with regular_file(path, _MOST_BYTES) as file:
            closed: tuple[ClosedExit, ...] = decode(tuple[ClosedExit, ...], json.loads(file.read()), "closed exits")
            return closed
    except FileNotFoundError:
        return ()
    except InputError as error:
        if not path.exists():
            return ()
        raise InputError(f"{printable(str(path))} cannot be read ({error.problem})", REOPENS_ALL) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{printable(str(path))} is damaged ({error})", REOPENS_ALL) from error


def reopen(state: Path, exits: tuple[str, ...] = ()) -> list[ClosedExit]:
    """Forget that exits are closed; a running service opens them within seconds.

    Args:
        state: The state folder.
        exits: Their segments, of whatever bundle; all without any.

    Returns:
        Those that were closed.

    Raises:
        InputError: One of the names is that of no closed exit.
        OSError: The file cannot be written.
    """
    with store.locked(state, _LOCK):
        try:
            closed = read_closed(state)
        except InputError:
            if exits:
                raise
            closed = ()
        if unknown := sorted(set(exits) - {one.exit for one in closed}):
            have = ", ".join(sorted({printable(one.exit) for one in closed})) or "none"
            raise InputError(f"exit {printable(unknown[0])} is not closed", f"closed are: {have}")
        opened = [one for one in closed if not exits or one.exit in exits]
        _write(state, tuple(one for one in closed if one not in opened))
    return opened


def _write(state: Path, closed: tuple[ClosedExit, ...]) -> None:
    if not closed:
        with contextlib.suppress(FileNotFoundError):
            (state / FILE).unlink()
            files.sync_folder(state)
        return
    plain = [dataclasses.asdict(one) for one in closed]
    files.write_bytes(state / FILE, json.dumps(plain, indent=1).encode() + b"\n")


class ClosedExits:
    """Keeps the exits of a running engine as the state folder says, and the folder as their audits say.

    Args:
        state: The folder.
        bundle: SHA-256 of the bundle that is served.
        gates: Segment to exit, of the engine.
        journal: The log.
    """

    def __init__(self, state: Path, bundle: str, gates: Mapping[str, ExitGate], journal: Journal) -> None:
        self._state, self._bundle, self._gates, self._journal = state, bundle, gates, journal
        self._seen = self._stamp()
        self._has_changed = False
        self._unnoted: set[str] = set()
        for gate in gates.values():
            gate.tell = self._teller(gate)
        if gates:
            self._close(self._read())

    def look(self) -> None:
        """Once a second, from any thread: whether somebody opened an exit."""
        if self._gates and (stamp := self._stamp()) != self._seen:
            self._seen, self._has_changed = stamp, True

    def after_frame(self) -> None:
        """From the thread that runs the engine: open what was opened."""
        if not self._has_changed:
            return
        self._has_changed = False
        closed = self._read()
        if closed is None:
            return
        for name, gate in self._gates.items():
            if not gate.is_open and name not in closed and name not in self._unnoted:
                gate.reopen()
                self._journal.write(NOTICE, "exit_opened", f"exit {name} of task {gate.task} is open again")

    def _read(self) -> dict[str, ClosedExit] | None:
        """Exits of this bundle; None where nobody knows."""
        try:
            return {one.exit: one for one in read_closed(self._state) if one.bundle == self._bundle}
        except InputError as error:
            self._journal.write(WARNING, "exits_unknown", f"{error.problem}; {error.remedy}")
            return None

    def _close(self, closed: Mapping[str, ClosedExit] | None) -> None:
        if closed is None:
            # An exit that broke its promise may be among them.
            for gate in self._gates.values():
                gate.is_open = gate.policy.is_far
            said = "which exits were closed is not known, so whole networks answer"
            self._journal.write(WARNING, "exit_closed", f"{said}; {REOPENS_ALL}")
            return
        for name, one in closed.items():
            if name in self._gates:
                self._gates[name].is_open = False
                self._journal.write(WARNING, "exit_closed", f"{one.sentence}; {REOPENS}")

    def _teller(self, gate: ExitGate) -> Callable[[str], None]:
        def tell(sentence: str) -> None:
            if gate.is_open:
                self._journal.write(WARNING, "frames_changed", sentence)
                return
            # Whoever reads it in the log may end the service at once.
            self._note(gate)
            self._journal.write(WARNING, "exit_closed", f"{sentence}; {REOPENS}")

        return tell

    def _note(self, gate: ExitGate) -> None:
        audit, promised = gate.audit, gate.policy.promise.max_disagreement
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        one = ClosedExit(self._bundle, gate.policy.segment, gate.task, audit.audited, audit.disagreed, promised, now)
        try:
            store.make_state(self._state)
            with store.locked(self._state, _LOCK):
                # The next look finds the file changed, and has to: another exit may have been opened just before.
                _write(self._state, (*self._others(), one))
        except Exception as error:  # The frame is answered all the same.
            self._unnoted.add(gate.policy.segment)
            said = f"that exit {gate.policy.segment} is closed cannot be noted, and the next start opens it: {error}"
            self._journal.write(WARNING, "exit_not_noted", said)

    def _others(self) -> tuple[ClosedExit, ...]:
        """What is known of this bundle, and of the last ones before."""
        try:
            known = read_closed(self._state)
        except InputError:
            known = ()
        bundles = list(dict.fromkeys(one.bundle for one in known if one.bundle != self._bundle))[-_KEPT:]
        return tuple(one for one in known if one.bundle == self._bundle or one.bundle in bundles)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = (self._state / FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino
