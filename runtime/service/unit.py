"""The systemd unit of the service: systemd.service(5), systemd.exec(5), systemd.resource-control(5).

Sandboxed as far as it costs no speed and no device. ``ProcSubset=pid`` is left out on purpose: without /proc/cpuinfo
XNNPACK does not start on Arm, and inference takes several times as long. ``PrivateUsers=`` would take the groups away
that cameras and sensors are opened by, ``PrivateDevices=`` the devices themselves.
"""

from __future__ import annotations

import grp
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GROUPS = ("video", "render", "i2c", "dialout", "gpio", "audio", "jtop")
"""Groups that cameras, sensors and ports are opened by; those that a machine has are joined."""
DEVICES = (
    "char-video4linux", "char-media", "char-dma_heap", "/dev/vchiq", "/dev/vcio", "/dev/vcsm-cma", "char-drm",
    "char-i2c", "char-ttyACM", "char-ttyUSB", "char-ttyAMA", "char-alsa", "char-nvhost", "char-nvmap",
)  # fmt: skip
WATCHDOG_S = 30
HOMES = ("/home", "/root", "/run/user")
"""Hidden from the service, except for what it runs from."""
_HIDDEN = (*HOMES, "/tmp", "/var/tmp")

_TEXT = """\
# Written by multigraft service install; changes of your own belong into: systemctl edit {name}
[Unit]
Description=Answers of networks on camera frames (multigraft)
Documentation=man:systemd.service(5)
After=local-fs.target network.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
EnvironmentFile=-/etc/default/{name}
ExecStart={command}
Restart=always
RestartSec=2
RestartPreventExitStatus=78
WatchdogSec={watchdog}
TimeoutStartSec=300
TimeoutStopSec=20
TimeoutAbortSec=10
KillMode=mixed
OOMPolicy=stop

{user}
SupplementaryGroups={groups}
StateDirectory={name}
UMask=0022
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1{extra}

AmbientCapabilities=
CapabilityBoundingSet=
NoNewPrivileges=yes
LockPersonality=yes
KeyringMode=private
MemoryDenyWriteExecute=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=tmpfs
ProtectProc=invisible
ProcSubset=all
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=setpriority
DevicePolicy=closed
{devices}
{network}{binds}
[Install]
WantedBy=multi-user.target
"""
# setpriority: the process that speaks HTTP makes itself nicer than the one that infers. AF_NETLINK: libcamera finds its
# devices by udev.


@dataclass(frozen=True)
class Secret:
    """A word of the command line that leads to a file which systemd hands over, readable for the service alone.

    systemd.exec(5), "Credentials".

    Attributes:
        name: Of the credential.
        path: Where systemd, as root, reads it.
        before: What the word begins with.
        content: What is written to ``path`` when the service is installed; None where somebody else wrote it.
    """

    name: str
    path: Path
    before: str = ""
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Unit:
    """What a unit file is made of.

    Attributes:
        name: Without ``.service``; the state folder has it, too.
        arguments: Of ``multigraft serve``.
        user: Whose rights it has; None for a user that systemd makes for it.
        is_local: HTTP is spoken to this machine alone.
        needed: Paths it reads, besides those of the system.
        is_alone: It asks no other machine: no MQTT broker, network camera or OpenTelemetry collector.
    """

    name: str
    arguments: tuple[str | Secret, ...]
    user: str | None = None
    is_local: bool = True
    needed: tuple[Path, ...] = ()
    is_alone: bool = True

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What systemd hands over."""
        return tuple(word for word in self.arguments if isinstance(word, Secret))

    def text(self, groups: Iterable[str] | None = None) -> str:
        """The file.

        Args:
            groups: Of this machine; those there are by default.
        """
        there = {group.gr_name for group in grp.getgrall()} if groups is None else set(groups)
        extra = "".join(f"\nLoadCredential={one.name}:{_escaped(str(one.path))}" for one in self.secrets)
        # -P: a file called like a module in the working folder must not be imported instead of it.
        words = [sys.executable, "-P", "-m", "multigraft", "serve", *self.arguments]
        command = " ".join(
            _quoted(word.before, f"%d/{word.name}") if isinstance(word, Secret) else _quoted(word) for word in words
        )
        binds = [path for path in _outermost([*_program(), *self.needed]) if _is_hidden(path)]
        return _TEXT.format(
            name=self.name,
            command=command,
            watchdog=WATCHDOG_S,
            user="DynamicUser=yes" if self.user is None else f"User={self.user}",
            groups=" ".join(group for group in GROUPS if group in there),
            extra=extra,
            devices="\n".join(f"DeviceAllow={device} rw" for device in DEVICES),
            network="IPAddressDeny=any\nIPAddressAllow=localhost\n" if self.is_local and self.is_alone else "",
            binds="".join(f"BindReadOnlyPaths={_escaped(str(path))}\n" for path in binds),
        )


def _program() -> list[Path]:
    """Where this Python and multigraft lie."""
    import multigraft
    import multigraft.runtime

    packages = [Path(path) for module in (multigraft, multigraft.runtime) for path in module.__path__]
    linked = [Path(__file__).resolve().parents[2]] if Path(__file__).is_symlink() else []
    return [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], *packages, *linked]


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Without those that lie in another of them."""
    whole = {path.absolute() for path in paths} | {path.resolve() for path in paths}
    return sorted(path for path in whole if not any(other in path.parents for other in whole))


def _is_hidden(path: Path) -> bool:
    return any(Path(hidden) in path.parents for hidden in _HIDDEN)


def _quoted(word: str, specified: str = "") -> str:
    """A word of a command line, and what is to follow it as it is: systemd.service(5), "Command lines"."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + specified
    return escaped if escaped and not set(escaped) & set(" \t\n'\";") else f'"{escaped}"'


def _escaped(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("%", "%%").replace(" ", "\\x20")
    return escaped.replace(":", "\\:")
