"""Puts the service into systemd, looks at it there, and takes it out again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.errors import DeviceError, UsageError
from multigraft.reading import read_file
from multigraft.runtime.deploy.deploying import deploy
from multigraft.runtime.deploy.signatures import LARGEST_GRAFT, signature_beside
from multigraft.runtime.service.unit import Unit

UNITS = Path("/etc/systemd/system")
STATES = Path("/var/lib")
DEFAULTS = Path("/etc/default")
"""Has a file of each service's variables, named like it, where somebody wrote one."""
SECRETS = Path("/etc/multigraft")
"""Has a file of each secret that was typed, for root alone to read, named like the service and the credential."""
MANAGED = Path("/run/systemd/system")
"""Is there where systemd runs (sd_booted(3))."""
_SHOWN = (
    "LoadState", "ActiveState", "SubState", "StatusText", "NRestarts", "ExecMainStatus", "MemoryCurrent", "Result",
)  # fmt: skip


def install(unit: Unit, bundle: Path | None, units: Path = UNITS, states: Path = STATES) -> Path:
    """Write the unit and its secrets, put the bundle into its state folder, and start the service, now and at boot.

    Returns:
        The unit file.

    Raises:
        BundleError: The bundle cannot be opened, fails its self-test, or is not signed as it has to be.
        DeviceError: systemd does not do what it is told.
        UsageError: This is not root, or systemd does not run.
    """
    require_root(f"sudo multigraft service install {bundle or ''}".rstrip())
    require_systemd()
    if bundle is not None:
        state = states / unit.name
        deploy(read_file(bundle, LARGEST_GRAFT), signature_beside(bundle), state, name=str(bundle))
        give_to_owner(state)
    _forget(unit.name)
    for one in unit.secrets:
        if one.content is not None:
            one.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            files.write_bytes(one.path, one.content, private=True)
    path = units / f"{unit.name}.service"
    files.write_bytes(path, unit.text().encode())
    systemctl("daemon-reload")
    systemctl("enable", unit.name)
    systemctl("reset-failed", unit.name, is_needed=False)
    systemctl("restart", "--no-block", unit.name)
    return path


def uninstall(name: str, purge: bool, units: Path = UNITS) -> None:
    """Stop the service and remove its unit and what is secret of it; its bundles, too, if asked to.

    Raises:
        DeviceError: systemd does not do what it is told.
        UsageError: This is not root, systemd does not run, or there is no such service.
    """
    require_root("sudo multigraft service uninstall")
    require_systemd()
    path = units / f"{name}.service"
    if not path.exists():
        raise UsageError(f"there is no {path}", "name the service with --name")
    systemctl("disable", "--now", name)
    if purge:
        systemctl("clean", "--what=state", name)
    _forget(name)
    path.unlink()
    systemctl("daemon-reload")


def _forget(name: str) -> None:
    """Remove what earlier installations of the service wrote."""
    for path in SECRETS.glob(f"{name}.source-*"):
        path.unlink()


def is_open(path: Path) -> bool:
    """Whether a file is there, and everybody on this machine can read it."""
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False


def status(name: str) -> dict[str, Any]:
    """What systemd knows of the service: ``ActiveState``, ``StatusText`` and others, as texts.

    Raises:
        DeviceError: systemd does not answer.
        UsageError: systemd does not run, or knows of no such service.
    """
    require_systemd()
    said = systemctl("show", name, f"--property={','.join(_SHOWN)}")
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if told.pop("LoadState", "") == "not-found":
        raise UsageError(f"there is no service {name}", "put it in: sudo multigraft service install BUNDLE")
    return told


def logs(name: str, lines: int, follow: bool) -> int:
    """Print the service's log.

    Raises:
        DeviceError: There is no journalctl.
        UsageError: systemd does not run.
    """
    require_systemd()
    journalctl = shutil.which("journalctl")
    if journalctl is None:
        raise DeviceError("there is no journalctl", "look where this system keeps its logs")
    command = [journalctl, "--unit", name, "--lines", str(lines), "--output", "short-iso", "--no-pager"]
    return subprocess.run([*command, *(["--follow"] if follow else [])], check=False).returncode


def require_systemd() -> None:
    """Refuse to go on where there is none to talk to.

    Raises:
        UsageError: systemd does not run.
    """
    if not MANAGED.is_dir():
        raise UsageError("systemd does not run here", "start it yourself: multigraft serve")


def require_root(command: str) -> None:
    """Refuse to go on without the rights.

    Raises:
        UsageError: This is not root.
    """
    if os.geteuid() != 0:
        raise UsageError("changing system services takes root's rights", f"run: {command}")


def give_to_owner(state: Path) -> None:
    """Let all that lies in the state folder belong to whom the folder belongs: the service's user."""
    with contextlib.suppress(OSError):
        folder = state.resolve()
        owner = folder.stat()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def systemctl(*arguments: str, is_needed: bool = True) -> str:
    """What ``systemctl`` says.

    Raises:
        DeviceError: It fails, and is needed.
    """
    try:
        done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise DeviceError("there is no systemctl", "use a system with systemd, or run: multigraft serve") from error
    if is_needed and done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DeviceError(f"systemctl {' '.join(arguments)} failed ({said})", "look at: journalctl --unit multigraft")
    return done.stdout
