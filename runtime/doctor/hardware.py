"""Processor, memory, disk and clock."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from multigraft.cores import usable_cores
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.system import System

LEAST_MEMORY_MIB = 256
LEAST_DISK_MIB = 200
BUILT_S = 1_767_225_600
"""2026-01-01: a clock that is earlier was not set."""

CMDLINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")
"""Where Raspberry Pi OS keeps the kernel's parameters, bookworm and before."""


def check_machine(system: System) -> list[Finding]:
    """Board, system and kernel."""
    board = system.text("proc/device-tree/model") or system.text("sys/class/dmi/id/product_name") or "unknown board"
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', system.text("etc/os-release") or "", re.MULTILINE))
    name = release.get("PRETTY_NAME", "unknown system")
    jetpack = re.search(r"R(\d+).*?REVISION: ([\d.]+)", system.text("etc/nv_tegra_release") or "")
    told = f"{board}, {name}, Linux {os.uname().release}" + (f", L4T {jetpack[1]}.{jetpack[2]}" if jetpack else "")
    return [Finding("machine", "ok", told)]


def check_processor(system: System) -> list[Finding]:
    """Cores that this process may use, and whether the clock follows the load."""
    there, usable = len(system.found("sys/devices/system/cpu/cpu[0-9]*")) or os.cpu_count() or 1, usable_cores()
    advice = f"use --threads 1 for networks below a millisecond, up to --threads {usable} for large ones"
    found = [Finding("cores", "ok", f"{usable} of {there} may be used", advice)]
    folder = "sys/devices/system/cpu/cpu0/cpufreq/"
    governor, driver = system.text(f"{folder}scaling_governor"), system.text(f"{folder}scaling_driver") or ""
    highest = system.text(f"{folder}scaling_max_freq")
    if governor is None:
        return found
    told = f"governor {governor}" + (f", at most {int(highest) / 1e6:.1f} GHz" if highest and highest.isdigit() else "")
    # intel_pstate's governor of that name follows the load.
    if governor == "powersave" and "pstate" not in driver:
        remedy = "run: echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        return [*found, Finding("processor clock", "wrong", f"{told}: it stays at its lowest", remedy)]
    return [*found, Finding("processor clock", "ok", told)]


def check_memory(system: System) -> list[Finding]:
    """Free memory, and the group by which systemd limits and watches a service's."""
    numbers = dict(re.findall(r"^(\w+):\s+(\d+) kB", system.text("proc/meminfo") or "", re.MULTILINE))
    free, whole = int(numbers.get("MemAvailable", 0)) >> 10, int(numbers.get("MemTotal", 0)) >> 10
    told = f"{free:,} of {whole:,} MiB free"
    if not whole:
        found = [Finding("memory", "missing", "/proc/meminfo cannot be read", "mount /proc, or leave the container")]
    elif free < LEAST_MEMORY_MIB:
        found = [Finding("memory", "wrong", told, "end other programs, or leave the desktop: sudo raspi-config")]
    else:
        found = [Finding("memory", "ok", told)]
    return [*found, _memory_group(system)]


def _memory_group(system: System) -> Finding:
    name = "memory cgroup"
    controllers = system.text("sys/fs/cgroup/cgroup.controllers")
    if "memory" in (controllers or "").split():
        return Finding(name, "ok", "on: systemd can limit a service's memory")
    groups = system.text("proc/cgroups")
    if controllers is None and groups is None:
        told = "cannot be told: neither /sys/fs/cgroup nor /proc/cgroups can be read"
        return Finding(name, "missing", told, "mount /proc and /sys, or leave the container")
    line = re.search(r"^memory\s+\d+\s+\d+\s+([01])", groups or "", re.MULTILINE)
    if controllers is None and line is not None and line[1] == "1":
        return Finding(name, "ok", "on (version 1)")
    cmdline = next((path for path in CMDLINES if system.exists(path)), None)
    if cmdline is None:
        remedy = "start the kernel with the parameter cgroup_enable=memory"
    else:
        # The file is one line.
        remedy = f"run: sudo sed -i 's/$/ cgroup_enable=memory/' /{cmdline} && sudo reboot"
    return Finding(name, "missing", "off: systemd cannot limit or watch a service's memory", remedy)


def check_disk(system: System) -> list[Finding]:
    """Space where bundles and logs lie, what kind of disk it is, and whether bundles can be written."""
    state = _state_folder(system)
    free = system.free_bytes(state) >> 20
    kind, is_read_only = _root_disk(system)
    told = f"{free:,} MiB free, {kind}"
    if is_read_only:
        return [
            Finding("disk", "wrong", f"{told}, read-only", "look for faults with: dmesg | grep -i ext4; then restart")
        ]
    if free < LEAST_DISK_MIB:
        return [Finding("disk", "wrong", told, "make room: sudo apt clean; sudo journalctl --vacuum-size=50M")]
    wear = "keep the log in memory (Storage=volatile in /etc/systemd/journald.conf)" if kind == "SD card" else ""
    found = [Finding("disk", "ok", told, wear)]
    if state != system.root and not system.may_use(state):
        remedy = "name a folder of yours with --state, or let this user write there; if it is read-only, mount it anew"
        found.append(Finding("state folder", "wrong", f"nothing can be written to {state}", remedy, (str(state),)))
    return found


def _state_folder(system: System) -> Path:
    """Where deployed bundles lie or will; of it, what is there."""
    known = system.environment
    given = known.get("STATE_DIRECTORY", "").partition(":")[0] or known.get("XDG_STATE_HOME") or known.get("HOME")
    state = Path(given).absolute() if given else system.root
    while not os.path.exists(state):  # noqa: PTH110 - Path.exists raises where a folder may not be searched
        state = state.parent
    return state


def _root_disk(system: System) -> tuple[str, bool]:
    for line in (system.text("proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, source = left.split(), right.split()
        if len(fields) > 5 and len(source) > 1 and fields[4] == "/":
            is_read_only = "ro" in fields[5].split(",")
            device = re.sub(r"(?<=\d)p\d+$|(?<=[a-z])\d+$", "", source[1].rpartition("/")[2])
            kind = system.text(f"sys/block/{device}/device/type")
            if device.startswith("mmcblk"):
                return ("SD card" if kind == "SD" else "eMMC"), is_read_only
            if device.startswith("nvme"):
                return "NVMe", is_read_only
            spins = system.text(f"sys/block/{device}/queue/rotational") == "1"
            return ("hard disk" if spins else source[0]), is_read_only
    return "kind unknown", False


def check_clock(system: System) -> list[Finding]:
    """Whether it is set, and kept right: a Pi has no clock of its own that goes on without power."""
    told = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(system.now_s()))
    remedy = "run: sudo timedatectl set-ntp true; and connect the network"
    if system.now_s() < BUILT_S:
        return [Finding("clock", "wrong", f"{told}: it was not set", remedy)]
    if system.exists("run/systemd/timesync/synchronized"):
        return [Finding("clock", "ok", f"{told}, synchronised")]
    ended = system.run("timedatectl", "show", "--property=NTPSynchronized", "--value", seconds=5)
    if ended is not None and ended.output.strip() == "yes":
        return [Finding("clock", "ok", f"{told}, synchronised")]
    own = ", kept by a clock of its own" if system.found("sys/class/rtc/rtc*") else ""
    return [Finding("clock", "missing", f"{told}, not synchronised{own}", remedy)]
