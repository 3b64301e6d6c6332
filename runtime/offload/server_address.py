"""Which server is asked, and as whom."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from multigraft.errors import ConfigurationError, UsageError
from multigraft.reading import printable, read_file

PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write for example http://server:8000 or https://server"
_OWN = ("localhost", "127.0.0.1", "::1")
_MOST_TOKEN = 4096
_TOKEN = re.compile(r"[\x21-\x7e]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class ServerAddress:
    """A server of the Open Inference Protocol.

    Attributes:
        host: A name or an address.
        port: Of TCP.
        tls: Whether the connection is encrypted and the server's certificate checked.
        path: Before ``/v2``; mostly empty.
        token: Goes along as ``Authorization: Bearer``; None where the server asks for none.
        ca_file: Certificates that are trusted, PEM; None for those of the system.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @classmethod
    def parse(cls, url: str, token_file: Path | None = None, ca_file: Path | None = None) -> ServerAddress:
        """``http://server:8000``, ``https://server/prefix``.

        Args:
            url: The address, without user and password.
            token_file: Holds the token.
            ca_file: Certificates to trust, PEM.

        Raises:
            UsageError: It is no such address, or the other options do not fit it.
            ConfigurationError: The token cannot be used.
            InputError: Its file cannot be read.
        """
        if "@" in url:
            raise UsageError("the server's address holds a user or password", "give a token by --offload-token-file")
        shown = printable(url)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{shown} is no address of a server ({error})", _EXAMPLE) from error
        if parts.scheme not in PORTS or not parts.hostname:
            raise UsageError(f"{shown} is no address of a server", _EXAMPLE)
        path = parts.path.rstrip("/").removesuffix("/v2")
        if parts.query or parts.fragment or not _PATH.fullmatch(path):
            raise UsageError(f"{shown} is more than an address of a server", _EXAMPLE)
        tls = parts.scheme == "https"
        if ca_file is not None and not tls:
            raise UsageError(f"{ca_file} checks certificates, and {shown} is not encrypted", "write https://")
        token = None if token_file is None else _token(token_file)
        return cls(parts.hostname, port or PORTS[parts.scheme], tls, path, token, ca_file)

    def context(self) -> ssl.SSLContext | None:
        """What checks the server's certificate; None without encryption.

        Raises:
            ConfigurationError: The certificates cannot be read.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"{self.ca_file} holds no certificates", "give a file in PEM form") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    @property
    def tells_token(self) -> bool:
        """Whether whoever listens on the way reads the token."""
        return self.token is not None and not self.tls and self.host not in _OWN

    @property
    def shown(self) -> str:
        """For messages."""
        return printable(f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.path}")


def _token(path: Path) -> str:
    token = read_file(path, _MOST_TOKEN).decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"{path} holds no token", "write it on one line, without spaces")
    return token
