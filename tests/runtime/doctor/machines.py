"""Machines for the doctor: files of a Raspberry Pi below a folder, and programs that answer as its do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from multigraft.runtime.doctor.system import System

PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "processor\t: 0\nSerial\t\t: 10000000abcdef12\n",
    "proc/meminfo": "MemTotal:        3884396 kB\nMemAvailable:    3120444 kB\n",
    "proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t80\t0\n",
    "proc/self/mountinfo": "25 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/group": "root:x:0:\nvideo:x:44:pi\ni2c:x:998:pi\ndialout:x:20:pi\n",
    "etc/hostname": "gartenhaus\n",
    "boot/firmware/cmdline.txt": "console=tty1 root=PARTUUID=1-02 rootwait\n",
    "run/systemd/timesync/synchronized": "",
    "sys/block/mmcblk0/device/type": "SD\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "cpufreq-dt\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000\n",
    "sys/class/hwmon/hwmon1/name": "ina219\n",
    "sys/class/hwmon/hwmon1/power1_input": "3100000\n",
    "sys/class/video4linux/video0/name": "HD Webcam of Annegret\n",
    "sys/class/video4linux/video0/index": "0\n",
    "sys/class/video4linux/video1/name": "HD Webcam of Annegret\n",
    "sys/class/video4linux/video1/index": "1\n",
    "sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
    "sys/class/video4linux/video10/index": "0\n",
    "dev/video0": "",
    "dev/ttyACM0": "",
}
"""A Raspberry Pi 4 with Raspberry Pi OS bookworm as it boots, a USB camera, an INA219 and a board on USB."""

NOW_S = 1_790_000_000.0


def machine(
    folder: Path, changes: dict[str, str | None] | None = None, programs: dict[str, str] | None = None, **options: Any
) -> System:
    """A Pi 4 with some files changed (None: not there) and with shell scripts as its programs."""
    root, programs_folder = folder / "root", folder / "bin"
    programs_folder.mkdir(parents=True)
    for name, text in {**PI_4, **(changes or {})}.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name, script in (programs or {}).items():
        path = programs_folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    settings: dict[str, Any] = {
        "root": root,
        "environment": {"PATH": f"{programs_folder}:{os.environ['PATH']}", "HOME": str(folder), "USER": "annegret"},
        "is_root": False,
        "groups": frozenset({"video", "dialout", "i2c"}),
        "now_s": lambda: NOW_S,
        "free_bytes": lambda path: 9 << 30,
    }
    return System(**(settings | options))
