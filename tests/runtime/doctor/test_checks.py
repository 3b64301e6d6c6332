"""Every check on a machine that has what it looks for, lacks it, or has it wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multigraft.runtime.doctor.examination import CHECKS, Check, examine, is_well, to_json
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.hardware import check_clock, check_disk, check_machine, check_memory, check_processor
from multigraft.runtime.doctor.ports import check_cameras, check_groups, check_serial
from multigraft.runtime.doctor.sensors import check_heat, check_power
from multigraft.runtime.doctor.system import System
from tests.runtime.doctor.machines import machine


def finding(check: Check, name: str, system: System) -> Finding:
    (found,) = [one for one in check(system) if one.name == name]
    return found


THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
CASES: list[tuple[Check, str, dict[str, Any], str, str, str]] = [
    (check_machine, "machine", {}, "ok", "Raspberry Pi 4 Model B Rev 1.4, Debian GNU/Linux 12", ""),
    (check_machine, "machine", {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"}, "ok", "L4T 36.4.3", ""),
    (check_processor, "processor clock", {}, "ok", "ondemand, at most 1.8 GHz", ""),
    (check_processor, "processor clock", {GOVERNOR: "powersave"}, "wrong", "at its lowest", "echo ondemand"),
    (
        check_processor, "processor clock",
        {GOVERNOR: "powersave", "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "intel_pstate"},
        "ok", "powersave", "",
    ),
    (check_heat, "temperature", {}, "ok", "48.3 °C", ""),
    (check_heat, "temperature", {"sys/class/thermal/thermal_zone0/temp": "84000"}, "wrong", "84.0 °C", "a fan"),
    (check_heat, "temperature", {"sys/class/thermal/thermal_zone0/temp": None}, "missing", "no thermal zone", "run"),
    (check_heat, "power supply", {}, "ok", "no under-voltage", ""),
    (check_heat, "power supply", {THROTTLED: "50005"}, "wrong", "under-voltage now (0x50005)", "5.1 V"),
    (check_heat, "power supply", {THROTTLED: "10000"}, "wrong", "some time since the start", "5.1 V"),
    (check_heat, "throttling", {THROTTLED: "10000"}, "ok", "not since the start", ""),
    (check_heat, "throttling", {THROTTLED: "80008"}, "wrong", "slowed down now", "heat sink"),
    (check_heat, "throttling", {THROTTLED: "e0000"}, "wrong", "some time since the start", "heat sink"),
    (check_heat, "throttling", {THROTTLED: None}, "missing", "does not tell", "bench"),
    (check_power, "power sensor", {}, "ok", "ina219 hwmon1", ""),
    (
        check_power, "power sensor", {"sys/class/hwmon/hwmon1/power1_input": None}, "missing", "no INA sensor",
        "connect an INA219",
    ),
    (check_cameras, "camera video0", {}, "ok", "--source /dev/video0", ""),
    (check_cameras, "camera video0", {"dev/video0": None}, "wrong", "has no /dev/video0", "plug it in again"),
    (check_cameras, "ribbon camera", {}, "missing", "libcamera finds none", "rpicam-hello --list-cameras"),
    (check_serial, "serial port ttyACM0", {}, "ok", "--port /dev/ttyACM0", ""),
    (check_serial, "serial port", {"dev/ttyACM0": None}, "missing", "none", "plug a board in"),
    (check_groups, "group i2c", {}, "ok", "power sensors", ""),
    (check_memory, "memory", {}, "ok", "3,047 of 3,793 MiB free", ""),
    (
        check_memory, "memory", {"proc/meminfo": "MemTotal: 440000 kB\nMemAvailable: 90000 kB\n"}, "wrong", "87 of",
        "raspi-config",
    ),
    (check_memory, "memory", {"proc/meminfo": None}, "missing", "/proc/meminfo cannot be read", "mount /proc"),
    (
        check_memory, "memory cgroup", {"sys/fs/cgroup/cgroup.controllers": None, "proc/cgroups": None}, "missing",
        "cannot be told", "mount /proc and /sys",
    ),
    (
        check_memory, "memory cgroup", {}, "missing", "off",
        "sudo sed -i 's/$/ cgroup_enable=memory/' /boot/firmware/cmdline.txt && sudo reboot",
    ),
    (
        check_memory, "memory cgroup", {"boot/firmware/cmdline.txt": None, "boot/cmdline.txt": "x"}, "missing", "off",
        " /boot/cmdline.txt",
    ),
    (check_memory, "memory cgroup", {"sys/fs/cgroup/cgroup.controllers": "cpu memory pids"}, "ok", "on", ""),
    (
        check_memory, "memory cgroup",
        {"sys/fs/cgroup/cgroup.controllers": None, "proc/cgroups": "memory\t9\t80\t1\n"}, "ok", "version 1", "",
    ),
    (check_disk, "disk", {}, "ok", "9,216 MiB free, SD card", "Storage=volatile"),
    (check_disk, "disk", {"sys/block/mmcblk0/device/type": "MMC"}, "ok", "eMMC", ""),
    (
        check_disk, "disk", {"proc/self/mountinfo": "25 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n"}, "ok", "NVMe", "",
    ),
    (
        check_disk, "disk", {"proc/self/mountinfo": "25 1 179:2 / / ro - ext4 /dev/mmcblk0p2 ro\n"}, "wrong",
        "read-only", "dmesg",
    ),
    (check_clock, "clock", {}, "ok", "2026-09-21", ""),
    (check_clock, "clock", {"run/systemd/timesync/synchronized": None}, "missing", "not synchronised", "set-ntp true"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "name", "changes", "state", "said", "remedy"), CASES)
def test_a_check(
    check: Check, name: str, changes: dict[str, str | None], state: str, said: str, remedy: str, tmp_path: Path
) -> None:
    found = finding(check, name, machine(tmp_path, changes))
    assert (found.state, said in found.said, remedy in found.remedy) == (state, True, True), found


def test_devices_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = machine(tmp_path, groups=frozenset({"users"}))
    # The tests may run as root, who may open anything.
    monkeypatch.setattr(System, "may_use", lambda self, device: False)
    assert finding(check_cameras, "camera video0", system).remedy.startswith("run: sudo usermod -aG video $USER")
    assert finding(check_serial, "serial port ttyACM0", system).remedy.startswith("run: sudo usermod -aG dialout $USER")
    assert {one.state for one in check_groups(system)} == {"missing"}
    assert all(f"usermod -aG {one.name.removeprefix('group ')} " in one.remedy for one in check_groups(system))


def test_a_full_disk_and_a_clock_that_was_not_set(tmp_path: Path) -> None:
    system = machine(tmp_path, free_bytes=lambda path: 90 << 20, now_s=lambda: 0.0)
    assert finding(check_disk, "disk", system).state == "wrong"
    clock = finding(check_clock, "clock", system)
    assert (clock.state, "1970-01-01" in clock.said) == ("wrong", True)


def test_a_state_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(System, "may_use", lambda self, path: bool(asked.append(path)))
    system = machine(tmp_path, environment={"STATE_DIRECTORY": f"{tmp_path}/not/there:/other"})
    found = finding(check_disk, "state folder", system)
    assert (found.state, asked, found.private) == ("wrong", [tmp_path], (str(tmp_path),))
    assert "--state" in found.remedy
    monkeypatch.setattr(System, "may_use", lambda self, path: True)
    assert [one.name for one in check_disk(system)] == ["disk"]


def test_what_the_firmware_tells_where_there_is_no_file(tmp_path: Path) -> None:
    system = machine(tmp_path, {THROTTLED: None}, {"vcgencmd": "echo throttled=0x50000"})
    assert finding(check_heat, "power supply", system).state == "wrong"
    assert finding(check_heat, "throttling", system).said.startswith("slowed down some time")


def test_only_cameras_are_listed(tmp_path: Path) -> None:
    names = [one.name for one in check_cameras(machine(tmp_path))]
    assert names == ["ribbon camera", "camera video0"]


def test_a_machine_without_anything(tmp_path: Path) -> None:
    system = System(tmp_path, {"PATH": "/nowhere"}, is_root=False, groups=frozenset())
    findings = [one for check in CHECKS[4:] for one in check(system)]
    assert all(one.remedy for one in findings if one.state != "ok")
    assert {one.name for one in findings if one.state == "missing"} >= {"temperature", "camera", "serial port"}


def test_a_check_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def check_nothing(system: System) -> list[Finding]:
        raise RuntimeError("a secret of someone")

    found = list(examine(machine(tmp_path), (check_nothing, check_clock)))
    assert [one.name for one in found] == ["nothing", "clock"]
    assert found[0].private == ("a secret of someone",)


def test_what_is_missing_is_no_fault() -> None:
    missing = Finding("camera", "missing", "none", "plug one in")
    wrong = Finding("camera", "wrong", "not open", "join the group")
    assert is_well([missing, Finding("clock", "ok", "set")])
    assert not is_well([missing, wrong])
    assert to_json([wrong]) == {
        "well": False,
        "findings": [{"name": "camera", "state": "wrong", "said": "not open", "remedy": "join the group"}],
    }


@pytest.mark.parametrize("state", ["missing", "wrong"])
def test_no_finding_without_a_remedy(state: Any) -> None:
    make: Callable[..., Finding] = Finding
    with pytest.raises(ValueError, match="names no remedy"):
        make("camera", state, "none")
