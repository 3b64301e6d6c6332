"""Runs the commands that set an environment up: pip by digests, output into a log, telling lines to the report."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from multigraft.converters.job.progress import Report
from multigraft.errors import ConversionError

_TELLING = ("Collecting", "Installing", "Successfully", "ERROR", "error")


def pip(python: str | os.PathLike[str], requirements: Path) -> list[str]:
    """The command that installs exactly the wheels whose digests ``requirements`` names."""
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    exactly = ["--require-hashes", "--no-deps", "--only-binary=:all:"]
    return [os.fspath(python), "-m", "pip", "install", *options, *exactly, "-r", str(requirements)]


def run(command: Sequence[str], log: Path, report: Report, variables: Mapping[str, str] | None = None) -> None:
    """Run ``command``, its output into ``log`` and the telling lines to ``report``.

    Raises:
        ConversionError: It failed; the message ends in its last line and the name of the log.
    """
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment = kept | {"PYTHONNOUSERSITE": "1"} | dict(variables or {})
    with log.open("a") as output:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        )
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                output.write(line)
                text = line.strip()
                last = text or last
                if text.startswith(_TELLING):
                    report(text.partition(" (from ")[0][:100])
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise ConversionError(
            f"the environment of onnx2tf could not be made ({last[:200]})",
            f"connect to a package index once, or set MULTIGRAFT_ONNX2TF; the log is {log}",
        )
