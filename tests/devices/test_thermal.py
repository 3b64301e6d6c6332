"""Temperature and throttling, from a made-up /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.devices.thermal import Thermal, ThrottlingWatch

NO_COMMAND = ("/nonexistent/vcgencmd",)


def test_the_hottest_zone_and_the_firmware_state_are_read(tmp_path: Path) -> None:
    for zone, text in ((0, "48312\n"), (1, "61750\n"), (2, "none\n")):
        folder = tmp_path / "class" / "thermal" / f"thermal_zone{zone}"
        folder.mkdir(parents=True)
        (folder / "temp").write_text(text)
    firmware = tmp_path / "devices" / "platform" / "soc" / "soc:firmware" / "get_throttled"
    firmware.parent.mkdir(parents=True)
    for text, expected in (("50005\n", True), ("50000\n", False), ("0\n", False), ("?\n", None)):
        firmware.write_text(text)
        assert Thermal(tmp_path).is_throttled() is expected
    assert Thermal(tmp_path).temperature_c() == 61.75


def test_a_system_that_tells_nothing_gives_none(tmp_path: Path) -> None:
    thermal = Thermal(tmp_path, NO_COMMAND)
    assert thermal.temperature_c() is None and thermal.is_throttled() is None
    assert ThrottlingWatch(thermal).was_throttled() is None


def test_the_command_of_a_raspberry_pi_is_asked_where_there_is_no_file(tmp_path: Path) -> None:
    command = tmp_path / "vcgencmd"
    for script, expected in (("echo throttled=0x50005", True), ("echo throttled=0x0", False), ("exit 1", None)):
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        assert Thermal(tmp_path, (str(command), "get_throttled")).is_throttled() is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("0", "0", False),
        ("0", "4", True),
        ("4", "0", True),
        ("50000", "50000", False),
        ("0", "40000", True),
        ("10000", "50000", True),
    ],
)
def test_a_run_was_throttled_if_the_firmware_says_so_at_an_end_or_since(
    before: str, after: str, expected: bool, tmp_path: Path
) -> None:
    state = tmp_path / "devices" / "platform" / "soc" / "soc:firmware" / "get_throttled"
    state.parent.mkdir(parents=True)
    state.write_text(before)
    watch = ThrottlingWatch(Thermal(tmp_path, NO_COMMAND))
    state.write_text(after)
    assert watch.was_throttled() is expected


def test_a_processor_that_counts_was_throttled_if_its_counts_rose(tmp_path: Path) -> None:
    counts = []
    for core in range(2):
        folder = tmp_path / "devices" / "system" / "cpu" / f"cpu{core}" / "thermal_throttle"
        folder.mkdir(parents=True)
        counts.append(folder / "core_throttle_count")
        counts[-1].write_text("7\n")
    watch = ThrottlingWatch(Thermal(tmp_path, NO_COMMAND))
    assert watch.was_throttled() is False
    counts[1].write_text("8\n")
    assert watch.was_throttled() is True
