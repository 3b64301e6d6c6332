"""Which broker is told, and as whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from multigraft.errors import ConfigurationError, UsageError
from multigraft.reading import printable

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""Scheme to the port where none is named (IANA)."""
PREFIX = "multigraft"
DISCOVERY = "homeassistant"
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_MOST_TOPIC = 100
_MOST_PASSWORD = 1024


@dataclass(frozen=True)
class Broker:
    """A broker, and what is told to it.

    Attributes:
        host: A name or an address.
        port: Of TCP.
        tls: Whether the connection is encrypted and the broker's certificate checked.
        user: As whom; None where the broker asks for nobody.
        password_file: Holds the password.
        ca_file: Certificates that are trusted, PEM; None for those of the system.
        prefix: All topics of states begin with it.
        discovery: Where Home Assistant looks for devices.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    prefix: str = PREFIX
    discovery: str = DISCOVERY

    @classmethod
    def parse(
        cls,
        url: str,
        password_file: Path | None = None,
        ca_file: Path | None = None,
        prefix: str = PREFIX,
        discovery: str = DISCOVERY,
    ) -> Broker:
        """``mqtt://broker``, ``mqtts://user@broker:8883``.

        Raises:
            UsageError: It is no such address, holds a password, or the other options do not fit it.
        """
        example = "write for example mqtt://user@broker or mqtts://user@broker:8883"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError(f"--mqtt {url!r} is no address", example) from None
        if parts.password is not None:
            # Whoever lists processes would see it, and so the address is not told again.
            raise UsageError("--mqtt holds a password", "write it into a file, and name that with --mqtt-password-file")
        if parts.scheme not in PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment or port == 0:
            raise UsageError(f"--mqtt {url!r} is no address", example)
        user = unquote(parts.username) if parts.username else None
        if password_file is not None and user is None:
            raise UsageError("a password without a user", "name the user in the address: mqtt://user@broker")
        if ca_file is not None and parts.scheme != "mqtts":
            raise UsageError("certificates are for an encrypted connection", "write mqtts:// in place of mqtt://")
        for option, topic in (("--mqtt-prefix", prefix), ("--mqtt-discovery", discovery)):
            if len(topic) > _MOST_TOPIC or not _TOPIC.fullmatch(topic):
                raise UsageError(f"{option} {topic!r} is no topic", "use letters, digits, - and _, and / between parts")
        is_tls = parts.scheme == "mqtts"
        return cls(host, port or PORTS[parts.scheme], is_tls, user, password_file, ca_file, prefix, discovery)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def password(self) -> str | None:
        """What the file holds, without the end of its line; None without a file.

        Raises:
            ConfigurationError: It cannot be read, or holds no password.
        """
        if self.password_file is None:
            return None
        shown = printable(str(self.password_file))
        try:
            with self.password_file.open("rb") as file:
                text = file.read(_MOST_PASSWORD + 1).decode("utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise ConfigurationError(
                f"the password file {shown} cannot be read ({error.strerror})", "check the path and its permissions"
            ) from error
        except UnicodeDecodeError:
            text = ""
        if not 0 < len(text.encode()) <= _MOST_PASSWORD or not text.isprintable():
            raise ConfigurationError(
                f"{shown} holds no password", "write the broker's password into it, in one line, and nothing else"
            )
        return text
