"""Runs a command, kills it at a moment, runs it again, and compares with a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.kills.jobs import Job, Result, files_in

LIMIT_S = 300.0
GONE_S = 10.0
"""Seconds in which the processes of a killed command have to have ended."""


@dataclass
class Tally:
    """How the kills of one job ended.

    Attributes:
        kills: How many there were.
        late: Of them, those that came after the command had ended.
        equal: Runs afterwards that made what an undisturbed run makes.
        problems: What was wrong, a line each.
        seconds: What an undisturbed run takes.
    """

    kills: int = 0
    late: int = 0
    equal: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Killer:
    """Kills one job again and again.

    Args:
        job: The command.
        folder: An empty folder for all runs.
        seed: Chooses the moments, as parts of what an undisturbed run takes.
    """

    def __init__(self, job: Job, folder: Path, seed: int = 0) -> None:
        self._job, self._folder, self._random = job, folder, random.Random(seed)
        self._given = folder / "given"
        self._given.mkdir()
        job.prepare(self._given)
        self._names = files_in(self._given)
        # Once for the caches, then once for the time.
        self._always: set[str] = set()
        """What a library leaves in the folder for temporary files, undisturbed, under a name that stays."""
        self._wanted = self._undisturbed()
        start = time.monotonic()
        again = self._undisturbed()
        self.tally = Tally(seconds=time.monotonic() - start)
        if again != self._wanted:
            self.tally.problems.append(f"two undisturbed runs differ in {_differing(self._wanted, again)}")

    def kill(self) -> None:
        """Run, kill at the next moment, run again; now and then the second one is killed, too."""
        tally = self.tally
        moments = [self._random.random() * tally.seconds]
        if self._random.random() < 0.25:
            moments.append(self._random.random() * tally.seconds)
        number = tally.kills
        tally.kills += 1
        with self._run_folder() as run:
            for moment in moments:
                process = run.start(self._job)
                try:
                    process.wait(moment)
                    tally.late += moment == moments[0]
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            where = f"kill {number} at {' and '.join(f'{m:.3f}' for m in moments)} s"
            code, said = run.finish(self._job)
            if code:
                tally.problems.append(f"{where}: exit code {code}: {said[-300:]}")
                return
            if left := run.processes_left():
                tally.problems.append(f"{where}: processes {left} are left")
            if temporary := sorted(files_in(run.temporary) - self._always):
                tally.problems.append(f"{where}: {temporary} left in the folder for temporary files")
            if (made := self._job.result(run.work, self._names)) != self._wanted:
                tally.problems.append(f"{where}: {_differing(self._wanted, made)} differ")
            else:
                tally.equal += 1

    def _undisturbed(self) -> Result:
        with self._run_folder() as run:
            code, said = run.finish(self._job)
            if code:
                raise RuntimeError(f"an undisturbed run ended with {code}: {said}")
            self._always = files_in(run.temporary)
            return self._job.result(run.work, self._names)

    def _run_folder(self) -> Run:
        return Run(self._folder, self._given)


class Run:
    """A copy of the given files, a folder for temporary files, and the processes that use it."""

    def __init__(self, folder: Path, given: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self.work, self.temporary = self._folder / "work", self._folder / "tmp"
        shutil.copytree(given, self.work)
        self.temporary.mkdir()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *reason: object) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, job: Job) -> subprocess.Popen[str]:
        """The command, begun."""
        return subprocess.Popen(
            [sys.executable, "-m", "multigraft", *job.argv], cwd=self.work, text=True,
            env=os.environ | {"TMPDIR": str(self.temporary)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def finish(self, job: Job) -> tuple[int, str]:
        """Exit code and standard error of the command, undisturbed."""
        ran = subprocess.run(
            [sys.executable, "-m", "multigraft", *job.argv], cwd=self.work, text=True, timeout=LIMIT_S,
            env=os.environ | {"TMPDIR": str(self.temporary)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        return ran.returncode, ran.stderr

    def processes(self) -> list[int]:
        """Living processes that were started with this folder for temporary files."""
        mark = f"TMPDIR={self.temporary}".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
            except OSError:
                continue
        return found

    def processes_left(self) -> list[int]:
        """As :meth:`processes`, those that do not end by themselves."""
        stop = time.monotonic() + GONE_S
        while (found := self.processes()) and time.monotonic() < stop:
            time.sleep(0.05)
        return found


def _differing(one: Result, other: Result) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
