"""What ``multigraft serve`` is told."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from multigraft import files
from multigraft.errors import ConfigurationError
from multigraft.reading import printable
from multigraft.runtime.backends import BackendName
from multigraft.runtime.http.guard import is_loopback
from multigraft.runtime.mqtt.broker import Broker
from multigraft.runtime.quiet.steady import USUAL, Rule
from multigraft.runtime.scheduling.rates import TaskRate
from multigraft.runtime.service.front import Address

TOKEN = "token"
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,128}")
_MOST_TOKEN = 4096


@dataclass(frozen=True)
class Settings:
    """All of it.

    Attributes:
        bundle: What to serve; None for the one that was deployed.
        sources: Of frames, as typed.
        state: The state folder.
        tasks: Those to answer; None for all.
        listen: Where HTTP is spoken; None for nowhere.
        token_file: Holds what clients have to know.
        rate_hz: The most frames a second; of tasks without a rate of their own where others have one.
        task_rates: Of tasks that have one of their own.
        allow_miss: Serve although this machine is too slow for the tasks' rates.
        most_w: Watts above which tasks' rates are lowered; None for no limit.
        most_c: Degrees Celsius, in the same way.
        most_memory_bytes: The service ends, to be started again, when it needs more; None for twice what it needed at
            first and 64 MiB.
        threads: For the kernels.
        backend: Which interpreter.
        self_test: Run the golden inputs on load.
        untrusted: First load and run the model in a child process.
        broker: Of MQTT; None for none.
        calm: How calm answers are that a broker is told.
    """

    bundle: Path | None
    sources: tuple[str, ...]
    state: Path
    tasks: tuple[str, ...] | None = None
    listen: Address | None = None
    token_file: Path | None = None
    rate_hz: float | None = None
    task_rates: tuple[TaskRate, ...] = ()
    allow_miss: bool = False
    most_w: float | None = None
    most_c: float | None = None
    most_memory_bytes: int | None = None
    threads: int = 1
    backend: BackendName = "auto"
    self_test: bool = True
    untrusted: bool = False
    broker: Broker | None = None
    calm: Rule = USUAL


def token_path(listen: Address | None, state: Path, token_file: Path | None = None) -> Path | None:
    """Where the token lies that clients have to know; None where only this machine can ask.

    Args:
        listen: See :class:`Settings`.
        state: In the same way.
        token_file: In the same way.
    """
    if listen is None or (token_file is None and is_loopback(listen.host)):
        return None
    return token_file or state / TOKEN


def token_of(listen: Address | None, state: Path, token_file: Path | None = None) -> str | None:
    """What clients have to know; None where only this machine can ask.

    Where others can and no file is named, one is made once, in the state folder.

    Args:
        listen: See :class:`Settings`.
        state: In the same way.
        token_file: In the same way.

    Raises:
        ConfigurationError: The file cannot be read or made, or holds no token.
    """
    path = token_path(listen, state, token_file)
    if path is None:
        return None
    shown, is_made_here = printable(str(path)), False
    try:
        is_made_here = token_file is None and not path.exists()
        if is_made_here:
            state.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, secrets.token_urlsafe(24).encode("ascii") + b"\n", private=True)
        with path.open("rb") as file:
            token = file.read(_MOST_TOKEN).decode("ascii", "replace").strip()
    except OSError as error:
        if is_made_here:
            raise ConfigurationError(
                f"the token file {shown} cannot be made ({error.strerror})",
                "name a folder that this user may write with --state, or a file of yours with --token-file",
            ) from error
        raise ConfigurationError(
            f"the token file {shown} cannot be read ({error.strerror})", "check the path and its permissions"
        ) from error
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"{shown} holds no token", "write 16 to 128 letters, digits or - . _ ~ into it, and nothing else"
        )
    return token
