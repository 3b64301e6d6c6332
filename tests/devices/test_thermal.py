"""Temperature and throttling, from a made-up /sys."""

from __future__ import annotations

from pathlib import Path

from multigraft.devices.thermal import Thermal


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
    thermal = Thermal(tmp_path)
    assert thermal.temperature_c() is None and thermal.is_throttled() is None
