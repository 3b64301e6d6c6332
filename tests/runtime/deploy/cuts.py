"""Deployments that are cut at random moments, after each of which the service has to answer from a valid bundle.

``python -m tests.runtime.deploy.cuts --deploys 500`` prints a row per kind of cut. ``multigraft serve`` runs on the
state folder throughout, is started again when it ends, and is killed after a third of the cuts. Kinds:

- ``killed``: kill -9 of ``multigraft deploy`` at a random moment
- ``killed at an operation``: kill -9 just before a random operation on the state folder (open, rename, mkdir, ...)
- ``stream cut``: ``multigraft deploy --receive`` whose input ends at a random byte
- ``connection cut``: ``multigraft deploy --host`` over a real sshd, the connection killed at a random moment
- ``file size limited``: RLIMIT_FSIZE at a random number of bytes
- ``disk full``: a file system in memory with a random number of bytes left (as root)
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from multigraft.bundle.bundle import Bundle
from multigraft.files import sha256_of
from multigraft.runtime.deploy import store, trial
from multigraft.runtime.deploy.deploying import Policy, deploy
from multigraft.runtime.deploy.stream import packed
from multigraft.runtime.engine import Engine
from tests.bundle_builder import build
from tests.runtime.deploy import sshd
from tests.runtime.deploy.standing import Standing, random_frame

KINDS = (
    "killed",
    "killed at an operation",
    "stream cut",
    "connection cut",
    "file size limited",
    "disk full",
)
OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "os.scandir")
WHOLE_DISK = 4 << 20


class Round:
    """A state folder, four bundles, and a service that is asked after every deployment."""

    def __init__(self, folder: Path, server: sshd.Sshd | None, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = server
        # A disk of its own where there may be one, to be filled.
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.state = self.disk / "state"
        self.service: Standing | None = None
        self.grafts, self.expected = [], {}
        self.frame = random_frame()
        for number, width in enumerate((8, 9, 10, 11)):
            path = build(heads=(("digit", "classification"),), width=width).bundle.write(folder / f"{number}.graft")
            self.grafts.append(path)
            self.expected[sha256_of(path.read_bytes())] = self._answer(path)
        self.duration_s = 2.0
        self.has_settled = False
        self.left: list[str] = []
        self.bundles = 0
        self.counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in KINDS}

    def begin(self) -> None:
        """The first bundle."""
        deploy(self.grafts[0].read_bytes(), None, self.state)
        trial.settled(self.serve())
        self.has_settled = True

    def _answer(self, path: Path) -> str:
        return json.dumps(Engine(path).run(self.frame).answers["digit"].to_json())

    def serve(self, is_disk_full: bool = False) -> Path:
        """What a service does at its start: a bundle that gives the answers that it gave when it was made."""
        if self.service is None:
            folder = trial.starting(self.state, lambda said: None)
            assert self._answer(folder) == self.expected[folder.name]
            assert Bundle.open(folder)
            return self.state
        digest, answers = self.service.answers(self.frame, is_disk_full)
        assert json.dumps(answers["digit"]) == self.expected[digest]
        return self.state

    def cut(self, kind: str) -> None:
        """One deployment, cut; then the service starts, and settles two times of three."""
        before = store.current(self.state)
        graft = self.random.choice(self.grafts)
        digest = sha256_of(graft.read_bytes())
        with self._full_disk() if kind == "disk full" else contextlib.nullcontext():
            code = self._deploy(kind, graft)
            self._wait_for_the_other_side()
            now = store.current(self.state)
            assert now is not None and before is not None
            # A bundle that did not settle may have given way to the one before it meanwhile.
            if self.has_settled or self.service is None:
                assert now.name in (before.name, digest)
                assert code != 0 or now.name == digest
            if self.service is not None and self.random.random() < 1 / 3:
                self.service.kill()
            self.serve(kind == "disk full")
        if kind == "disk full" and self.service is not None:
            # There is room again: by itself the service tries what it could not count ten minutes later.
            self.service.kill()
            self.serve()
        self.has_settled = self.random.random() < 2 / 3
        if self.has_settled:
            trial.settled(self.state)
        self.counts[kind]["done" if code == 0 else "cut"] += 1
        self.counts[kind]["switched" if now.name != before.name else "stayed"] += 1

    def _deploy(self, kind: str, graft: Path) -> int:
        command = [sys.executable, "-m", "multigraft", "deploy", "--keep", "0", "--state", str(self.state)]
        match kind:
            case "killed":
                return self._killed([*command, str(graft)])
            case "killed at an operation":
                return self._killed_inside(graft)
            case "stream cut":
                data = graft.read_bytes()
                whole = packed(data, None) + data
                cut = whole[: self.random.randrange(len(whole) + len(whole) // 8)]
                return subprocess.run([*command, "--receive"], input=cut, capture_output=True, check=False).returncode
            case "connection cut":
                assert self.server is not None
                return self._killed([*command, str(graft), *self.server.options()])
            case "file size limited":
                most = self.random.randrange(1, graft.stat().st_size)
                limit = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({most}, {most}));"
                program = f"{limit} from multigraft.cli.main import main; raise SystemExit(main())"
                return self._run([sys.executable, "-c", program, *command[3:], str(graft)])
            case _:
                return self._run([*command, str(graft)])

    def _run(self, command: list[str]) -> int:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode

    def _killed(self, command: list[str]) -> int:
        start = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = process.wait(self.random.random() * 1.3 * self.duration_s)
            self.duration_s = 0.8 * self.duration_s + 0.2 * (time.monotonic() - start)
        except subprocess.TimeoutExpired:
            # ssh is in its session; what runs on the other side of it is not.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            code = process.wait()
            self.duration_s *= 1.02
        return code

    def _wait_for_the_other_side(self) -> None:
        """What a cut connection leaves behind goes on for a while, like on another machine."""
        while any(str(self.state).encode() in line and b"\0serve\0" not in line for line in _command_lines()):
            time.sleep(0.02)

    def _killed_inside(self, graft: Path) -> int:
        left = self.random.randrange(90)
        if self.service is not None:
            # Threads and a fork do not go together.
            call = f"deploy_and_die(Path({str(graft)!r}), Path({str(self.state)!r}), {left})"
            program = f"from pathlib import Path; from tests.runtime.deploy.cuts import deploy_and_die; {call}"
            return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                deploy_and_die(graft, self.state, left)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """The disk that the state is on, filled but for a random number of bytes."""
        filler = self.disk / "filler"
        space = os.statvfs(self.disk)
        left = self.random.randrange(0, 3 * self.grafts[0].stat().st_size)
        try:
            with contextlib.suppress(OSError):
                filler.write_bytes(bytes(max(space.f_bavail * space.f_frsize - left, 0)))
            yield
        finally:
            filler.unlink()


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.parent.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                yield path.read_bytes()


def deploy_and_die(graft: Path, state: Path, left: int) -> None:
    """Deploy, and be killed before the operation on the state folder after ``left`` ones."""
    _kill_before(state, left)
    deploy(graft.read_bytes(), None, state, Policy(kept=0))


def _kill_before(state: Path, left: int) -> None:
    """Kill this process before the operation on the state folder after ``left`` ones."""
    counted = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal counted
        if event in OPERATIONS and str(arguments[0]).startswith(str(state)):
            if counted == left:
                os.kill(os.getpid(), 9)
            counted += 1

    sys.addaudithook(hook)


def can_fill_a_disk() -> bool:
    """Whether a file system can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return tried.returncode == 0


def kinds_here() -> list[str]:
    """The kinds of cuts that this machine allows."""
    without = set()
    if sshd.why_not():
        without.add("connection cut")
    if os.geteuid() != 0 or not can_fill_a_disk():
        without.add("disk full")
    return [kind for kind in KINDS if kind not in without]


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system in memory at ``folder``."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={WHOLE_DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run(folder: Path, deploys: int, seed: int, kinds: list[str], is_served: bool = True) -> Round:
    """Do so many deployments, the kinds in turn; with a service, or with what one does at its start."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(sshd.running(folder)) if "connection cut" in kinds else None
        done = Round(folder, server, seed)
        if "disk full" in kinds:
            stack.enter_context(small_disk(done.disk))
        done.begin()
        if is_served:
            done.service = stack.enter_context(Standing(done.state, folder / "serve.log"))
            done.serve()
        # Of four bundles two stay, so that every other deployment unpacks one.
        for number in range(deploys):
            done.cut(kinds[number % len(kinds)])
            if number % 50 == 49:
                print(f"{number + 1} of {deploys}", file=sys.stderr, flush=True)
        done.left = sorted(path.name for path in done.state.iterdir())
        done.bundles = len(store.bundles(done.state))
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deploys", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kinds = kinds_here()
    with tempfile.TemporaryDirectory() as folder:
        done = run(Path(folder), options.deploys, options.seed, kinds)
        print(f"{'cut':24} {'deploys':>8} {'ended':>6} {'cut':>6} {'switched':>9}   a valid bundle answered")
        for kind in kinds:
            counts = done.counts[kind]
            total = counts["done"] + counts["cut"]
            print(f"{kind:24} {total:8} {counts['done']:6} {counts['cut']:6} {counts['switched']:9}   {total}")
        print(f"left over: {done.left}, {done.bundles} bundles")
        assert done.service is not None
        ends = collections.Counter(done.service.codes)
        print(f"the service was started {done.service.starts} times; it ended with {dict(ends)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
