"""OpenTelemetry's own environment variables (its specification, sdk-environment-variables and protocol/exporter).

An empty variable counts as none. What only the exporter reads, such as headers and certificates, does not stand here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from multigraft.devices.cameras.addresses import has_secret, shown_address
from multigraft.errors import ConfigurationError
from multigraft.reading import printable

ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
HEADERS = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_S = 60.0
DEFAULT = "http://localhost:4318"
_MOST_FILE = 1 << 16


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether figures are to be told: an address or ``OTEL_METRICS_EXPORTER=otlp`` is set, and nothing forbids it."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_METRICS_EXPORTER", "").strip()
    if exporters:
        return "otlp" in re.split(r"\s*,\s*", exporters)
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


def has_secrets(environment: Mapping[str, str]) -> bool:
    """Whether variables let somebody in at the collector: headers, or an address with a user, a password or a query."""
    given = {name: environment.get(name, "").strip() for name in (*HEADERS, *ENDPOINTS)}
    return any(given[name] for name in HEADERS) or any(has_secret(given[name]) for name in ENDPOINTS)


def endpoint_of(environment: Mapping[str, str] = os.environ) -> str:
    """Where the collector is, as it was written."""
    given = (environment.get(name, "").strip() for name in ENDPOINTS)
    return next(filter(None, given), DEFAULT)


def host_of(endpoint: str) -> str:
    """The collector's machine; "" where that cannot be told."""
    try:
        parts = urlsplit(endpoint)
        # A port that is none raises: of a password with a slash, what stands before that looks like one.
        return (parts.hostname or "") if parts.port != 0 else ""
    except ValueError:
        return ""


def check(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what the exporter would misunderstand.

    Raises:
        ConfigurationError: The address is none, or another protocol is asked for.
    """
    endpoint = endpoint_of(environment)
    if not endpoint.startswith(("http://", "https://")) or not host_of(endpoint):
        raise ConfigurationError(
            f"{_named(ENDPOINTS, environment)} {_plain(endpoint)!r} is no address", f"write for example {DEFAULT}"
        )
    name = _named(PROTOCOLS, environment)
    protocol = environment.get(name, "").strip() or SPOKEN
    if protocol != SPOKEN:
        raise ConfigurationError(
            f"{name} is {printable(protocol)}, which is not spoken here", f"set it to {SPOKEN}, at port 4318"
        )


def interval_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds between two exports.

    Raises:
        ConfigurationError: It is no number of milliseconds.
    """
    text = environment.get(INTERVAL, "").strip()
    if not text:
        return INTERVAL_S
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ConfigurationError(f"{INTERVAL} is {printable(text)}", "give milliseconds, as in 60000")
    return int(text) / 1000


def read_defaults(path: Path) -> dict[str, str]:
    """The variables in a file of systemd's form (systemd.exec(5), EnvironmentFile); empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_FILE).decode("utf-8", "replace")
    except OSError:
        return {}
    found = re.findall(r"^[ \t]*(\w+)=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return {name: value[1:-1] if value[:1] in "\"'" and value[-1:] == value[:1] else value for name, value in found}


def _named(names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    return next((name for name in names if environment.get(name, "").strip()), names[-1])


def _plain(endpoint: str) -> str:
    return printable(shown_address(endpoint))
