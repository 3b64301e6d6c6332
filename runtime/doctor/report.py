"""The doctor's findings to attach to an issue: without names, addresses, serial numbers and folders of a person."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.system import System

SERIALS = (
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/board_serial",
    "etc/machine-id",
)

_SYSTEMS = "usr|etc|boot|dev|sys|proc|lib|lib64|bin|sbin|var/lib|var/log|run(?!/user)"
"""Folders that every machine has; paths elsewhere tell of who keeps what where."""

_PATTERNS = (
    (re.compile(r"\b([a-z]+)://[^\s,;)\"']+", re.IGNORECASE), r"\1://‹address›"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "‹e-mail›"),
    (re.compile(r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b"), "‹address›"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\.)"), "‹address›"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){2,7}(?::|[0-9a-fA-F]{1,4})(?::?[0-9a-fA-F]{1,4})*"), "‹address›"),
    (re.compile(r"/dev/(?:serial|v4l)/by-\w+/\S+"), "‹device›"),
    (re.compile(rf"(?<![\w.:/$-])~?/(?!(?:{_SYSTEMS})\b)\w[^\s'\"()\[\],;|]*"), "‹path›"),
    (re.compile(r"\b(?=\w*\d)(?=\w*[a-fA-F])[0-9a-fA-F]{8,}\b"), "‹number›"),
    (re.compile(r"\b\d{9,}\b"), "‹number›"),
)
"""What a text may hold of a person, a place or a single device, whatever machine it is about."""


class Anonymous:
    """Takes out of texts what tells of a person.

    Args:
        system: Whose names, host name, serial numbers and folders are looked for, besides everybody's.
    """

    def __init__(self, system: System) -> None:
        self._words = {word: mark for word, mark in _own_words(system).items() if len(word) > 2}

    def __call__(self, text: str, private: Sequence[str] = ()) -> str:
        """The text with marks such as ``‹name›`` in the place of what tells of a person.

        Args:
            text: Of a finding.
            private: Parts of it that are left out, too.
        """
        for word in sorted(filter(None, private), key=len, reverse=True):
            text = text.replace(word, "‹name›")
        for pattern, mark in _PATTERNS:
            text = pattern.sub(mark, text)
        for word in sorted(self._words, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", self._words[word], text, flags=re.IGNORECASE)
        return text


def report(findings: Sequence[Finding], system: System) -> str:
    """A Markdown table of the findings."""
    clean = Anonymous(system)
    rows = []
    for finding in findings:
        cells = [
            finding.state,
            *(clean(text, finding.private) for text in (finding.name, finding.said, finding.remedy)),
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(["| state | what | seen | remedy |", "|---|---|---|---|", *rows, ""])


def _own_words(system: System) -> dict[str, str]:
    words = {}
    for path in SERIALS:
        words[system.text(path) or ""] = "‹number›"
    if serial := re.search(r"^Serial\s*:\s*(\w+)", system.text("proc/cpuinfo") or "", re.MULTILINE):
        words[serial[1]] = "‹number›"
    for host in (system.text("etc/hostname") or "", socket.gethostname()):
        words[host] = words[host.partition(".")[0]] = "‹host›"
    home = system.environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111
    for name in (system.environment.get("USER", ""), system.environment.get("LOGNAME", ""), Path(home).name, _user()):
        words[name] = "‹user›"
    # Ordinary words of such texts.
    for ordinary in ("", "root", "/", "localhost", "raspberrypi", "raspberry", "jetson", "debian", "ubuntu", "pi"):
        words.pop(ordinary, None)
    return words


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
