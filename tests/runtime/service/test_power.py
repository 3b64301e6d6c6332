"""Energy by rail: each of those that may be added up, and none beside its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from multigraft.devices.power.hwmon_meter import HwmonMeter, rails_of
from multigraft.devices.power.rapl_meter import RaplMeter
from multigraft.runtime.service.power import Power
from tests.devices.power.test_power_meters import Clock, ina3221, put, rapl_zone, write


def read_after(meter: HwmonMeter | RaplMeter, clock: Clock, seconds: float) -> dict[str, tuple[float, float]]:
    """Rail to joules and watts, after so long."""
    power = Power(lambda: (meter, ""), clock)
    clock.now_s += seconds
    readings = power.read()
    power.close()
    assert {reading.source for reading in readings} == {meter.name}
    return {reading.rail: (reading.joules, reading.watts) for reading in readings}


def test_each_rail_of_a_board_is_told(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, (("VDD_GPU_SOC", 19000, 100), ("VDD_CPU_CV", 19000, 50)))
    clock = Clock()
    told = read_after(HwmonMeter(rails_of(tmp_path), interval_s=None, clock=clock), clock, 2.0)
    assert told == {"VDD_GPU_SOC": pytest.approx((3.8, 1.9)), "VDD_CPU_CV": pytest.approx((1.9, 0.95))}


def test_parts_are_not_told_beside_the_rail_that_feeds_them(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, (("VDD_GPU", 10000, 1000), ("VDD_CPU_SOC_MSS", 10000, 1000), ("VIN_SYS_5V0", 10000, 1000)))
    put(tmp_path, "class/hwmon/hwmon1/name", "ina238")
    put(tmp_path, "class/hwmon/hwmon1/power1_input", 40_000_000)
    clock = Clock()
    told = read_after(HwmonMeter(rails_of(tmp_path), interval_s=None, clock=clock), clock, 2.0)
    assert told == {"VIN": pytest.approx((80.0, 40.0))}


def test_joules_are_those_of_the_samples_between_two_readings(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, (("VDD_GPU_SOC", 10000, 200), ("VDD_CPU_CV", 10000, 100)))
    clock = Clock()
    meter = HwmonMeter(rails_of(tmp_path), interval_s=None, clock=clock)
    power = Power(lambda: (meter, ""), clock)
    clock.now_s = 0.5
    meter.energy_j()
    # Half a second at 2 W, then a ramp to 6 W: 1 J + 2 J. The service's own two readings alone would give 4 J.
    write(tmp_path / "class/hwmon/hwmon0/curr1_input", 600)
    clock.now_s = 1.0
    gpu, cpu = power.read()
    assert (gpu.joules, cpu.joules) == pytest.approx((3.0, 1.0))
    assert gpu.joules + cpu.joules == pytest.approx(meter.energy_j())
    power.close()


def test_each_package_of_a_server_is_told(tmp_path: Path) -> None:
    counters = [rapl_zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", 1000) for n in range(2)]
    clock = Clock()
    meter = RaplMeter(tuple(counter.parent for counter in counters), None, clock)
    power = Power(lambda: (meter, ""), clock)
    for counter, joules in zip(counters, (3, 5), strict=True):
        write(counter, 1000 + joules * 1_000_000)
    clock.now_s = 1.0
    assert {reading.rail: reading.joules for reading in power.read()} == pytest.approx(
        {"package-0": 3.0, "package-1": 5.0}
    )
    power.close()
