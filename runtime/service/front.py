"""The inferring side's end of HTTP: the process that speaks it, its questions, and their answers."""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from multigraft.errors import ConfigurationError, MissingDependencyError, UsageError
from multigraft.installing import install_extra
from multigraft.runtime.http.__main__ import BACKLOG, HEARTBEAT_S
from multigraft.runtime.http.channel import ChannelError, answer_bytes, read_question

Answer = Callable[[Any], None]
Question = Callable[[dict[str, Any], memoryview, Answer], None]
"""Takes a question's header, what follows it, and what sends the answer, at once or later, from any thread."""

SILENCE_S = 12 * HEARTBEAT_S
"""Without a question the process is taken to be stuck, and started again, unless it is starved."""
STARVED_SHARE = 0.1
"""Of the silence: who wanted to run for that long and was not let is starved by a busy machine, and not stuck."""
ENOUGH_S = 10.0
"""On a processor without a question is stuck on the busiest machine, too: a heartbeat takes some milliseconds."""
START_S = 300.0
"""For the first question: a busy machine takes its time to start a process."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
PACKAGES = ("uvicorn", "prometheus_client")
_ANSWERS = 64
Scheduled = tuple[float, float]
"""What :func:`scheduled_s` gives."""


@dataclass(frozen=True)
class Address:
    """Where HTTP is spoken."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``127.0.0.1:8080``, ``[::1]:8080``, ``:8080`` for every address.

        Raises:
            UsageError: It is none of these.
        """
        host, colon, port = text.rpartition(":")
        is_port = port.isascii() and port.isdigit() and int(port) < 1 << 16
        if not colon or not is_port:
            raise UsageError(f"--listen {text!r} is no address", "write for example 127.0.0.1:8080 or 0.0.0.0:8080")
        return cls(host.strip("[]") or "0.0.0.0", int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen(address: Address) -> socket.socket:
    """A socket that listens; it outlives the process that answers.

    Raises:
        ConfigurationError: The address is not this machine's.
        MissingDependencyError: A package that HTTP needs is not installed.
        UsageError: Somebody else has it, or it may not be had.
    """
    for package in PACKAGES:
        # Found, not imported: the other process needs it.
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"HTTP needs {package}, which is not installed", install_extra("serve"))
    try:
        family, kind, number, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise ConfigurationError(
            f"{address} cannot be listened at ({error})", "choose another with --listen"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{address} cannot be listened at ({error.strerror})", "end what uses it, or choose another with --listen"
        ) from error
    return listening


class Front:
    """Runs the HTTP process, starts it again when it ends or is stuck, and answers its questions.

    Args:
        listening: What it accepts connections from; None where nobody may ask.
        questions: Kind to what answers it.
        say: Is told, in a sentence, when the process had to be started again.
    """

    def __init__(
        self,
        listening: socket.socket | None,
        questions: dict[str, Question],
        say: Callable[[str], None] = lambda s: None,
    ) -> None:
        self._listening, self._questions, self._say = listening, questions, say
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        """Speak HTTP from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the process."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.terminate()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if self._listening is not None:
            self._listening.close()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopped.is_set():
            begin = time.monotonic()
            try:
                reason = self._once()
            except Exception as error:
                # Of a question that could not be answered, or a process that could not be made.
                reason = f"HTTP was interrupted ({error!r}); the process that speaks it is started again"
            if self._stopped.is_set():
                return
            self.restarts += 1
            self._say(reason)
            pause_s = FIRST_PAUSE_S if time.monotonic() - begin > LONGEST_PAUSE_S else min(pause_s * 2, LONGEST_PAUSE_S)
            self._stopped.wait(pause_s)

    def _once(self) -> str:
        """One life of the process; why it ended."""
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        with theirs:
            handles = [theirs.fileno(), *([] if self._listening is None else [self._listening.fileno()])]
            # -P: a file called like a module in the working folder must not be imported instead of it.
            command = [sys.executable, "-P", "-m", "multigraft.runtime.http", *map(str, handles)]
            # A session of its own: Ctrl-C in a terminal is for the loop, which ends this process in its turn.
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=handles, start_new_session=True
            )
        answers: queue.Queue[bytes | None] = queue.Queue(_ANSWERS)
        writer = threading.Thread(target=_write, args=(connection, answers), name="answers", daemon=True)
        writer.start()
        try:
            reason = self._answer_all(connection, answers, process.pid)
        finally:
            with contextlib.suppress(queue.Full):
                answers.put_nowait(None)
            process.terminate()
            try:
                process.wait(3.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            writer.join(1.0)
            connection.close()
        return f"the process that speaks HTTP {reason} (exit code {process.returncode}); it is started again"

    def _answer_all(self, connection: Connection, answers: queue.Queue[bytes | None], pid: int) -> str:
        patience_s = START_S
        asked = before = scheduled_s(pid)
        try:
            while True:
                if not connection.poll(patience_s):
                    now = scheduled_s(pid)
                    if self._stopped.is_set() or not is_starved(asked, before, now, patience_s):
                        return "did not move"
                    before = now
                    continue
                patience_s = SILENCE_S
                header, body = read_question(connection)
                number = header["id"]
                if header["kind"] == "alive":
                    asked = before = scheduled_s(pid)

                def answer(told: Any, number: int = number) -> None:
                    # One that does not read its answers gets none.
                    with contextlib.suppress(queue.Full):
                        answers.put_nowait(answer_bytes(number, told))

                question = self._questions.get(header["kind"])
                if question is None:
                    answer(None)
                else:
                    question(header, body, answer)
        except (EOFError, OSError):
            return "ended"
        except ChannelError as error:
            return f"said {error}"


def scheduled_s(pid: int) -> Scheduled | None:
    """Seconds that a process's first thread ran, and that it wanted to run and had to wait (/proc/PID/schedstat).

    None where the system does not tell.
    """
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text("ascii").split()
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return None


def is_starved(asked: Scheduled | None, before: Scheduled | None, now: Scheduled | None, silence_s: float) -> bool:
    """Whether a process that says nothing only waits for its turn.

    Args:
        asked: What :func:`scheduled_s` said when it asked for the last time.
        before: At the beginning of this silence.
        now: Now.
        silence_s: Seconds of this silence.
    """
    if asked is None or before is None or now is None:
        return False
    return now[0] - asked[0] < ENOUGH_S and now[1] - before[1] >= STARVED_SHARE * silence_s


def _write(connection: Connection, answers: queue.Queue[bytes | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while (raw := answers.get()) is not None:
            connection.send_bytes(raw)
