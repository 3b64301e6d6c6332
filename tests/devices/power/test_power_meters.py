"""What every power meter has to do, over all adapters, on sensors emulated as a sysfs tree."""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multigraft.devices.power import jtop_meter
from multigraft.devices.power.fake_meter import FakeMeter
from multigraft.devices.power.hwmon_meter import HwmonMeter, rails_of
from multigraft.devices.power.jtop_meter import JtopMeter
from multigraft.devices.power.power import PowerMeter, find_power_meter
from multigraft.devices.power.rapl_meter import RaplMeter
from multigraft.errors import DeviceError, MissingDependencyError, UsageError


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def put(root: Path, path: str, text: object) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return write(target, text)


def write(target: Path, text: object) -> Path:
    """At once, as a register changes: a thread may be reading."""
    part = target.with_name(target.name + ".new")
    part.write_text(f"{text}\n")
    return part.replace(target)


def rapl_zone(root: Path, zone: str, name: str, energy_uj: object, range_uj: int = 262_143_328_850) -> Path:
    put(root, f"class/powercap/{zone}/name", name)
    put(root, f"class/powercap/{zone}/max_energy_range_uj", range_uj)
    return put(root, f"class/powercap/{zone}/energy_uj", energy_uj)


def ina3221(root: Path, number: int, rails: tuple[tuple[str, int, int], ...]) -> None:
    put(root, f"class/hwmon/hwmon{number}/name", "ina3221")
    for channel, (label, millivolt, milliampere) in enumerate(rails, 1):
        put(root, f"class/hwmon/hwmon{number}/in{channel}_label", label)
        put(root, f"class/hwmon/hwmon{number}/in{channel}_input", millivolt)
        put(root, f"class/hwmon/hwmon{number}/curr{channel}_input", milliampere)
    put(root, f"class/hwmon/hwmon{number}/in7_input", 12345)


def meter_of(sysfs: Path) -> PowerMeter:
    meter, reason = find_power_meter(sysfs)
    assert meter is not None, reason
    return meter


Draw = Callable[[float], object]
"""Lets a rig draw so many joules."""

ORIN_NANO = (("VDD_IN", 5000, 1200), ("VDD_CPU_GPU_CV", 5000, 400), ("VDD_SOC", 5000, 300))


def rapl_rig(tmp_path: Path) -> tuple[PowerMeter, Draw]:
    counter = rapl_zone(tmp_path, "intel-rapl:0", "package-0", 1000)
    meter = RaplMeter((counter.parent,))
    return meter, lambda joules: write(counter, int(counter.read_text()) + int(joules * 1e6))


def hwmon_rig(tmp_path: Path) -> tuple[PowerMeter, Draw]:
    ina3221(tmp_path, 0, ORIN_NANO)
    clock = Clock()
    meter = HwmonMeter(rails_of(tmp_path), interval_s=None, clock=clock)
    return meter, lambda joules: setattr(clock, "now_s", clock.now_s + joules / 6.0)


def fake_rig(tmp_path: Path) -> tuple[PowerMeter, Draw]:
    clock = Clock()
    return FakeMeter(2000.0, clock=clock), lambda joules: setattr(clock, "now_s", clock.now_s + joules / 2.0)


def machine_rig(tmp_path: Path) -> tuple[PowerMeter, Draw]:
    """Whatever this machine has: cannot be told what to draw."""
    meter, reason = find_power_meter()
    if meter is None:
        pytest.skip(f"hardware: {reason}")
    return meter, lambda joules: None


Rig = Callable[[Path], tuple[PowerMeter, Draw]]
RIGS: tuple[Rig, ...] = (rapl_rig, hwmon_rig, fake_rig)


@pytest.mark.parametrize("rig", (*RIGS, machine_rig))
def test_every_meter_counts_up_from_0_within_its_block(rig: Rig, tmp_path: Path) -> None:
    meter, _ = rig(tmp_path)
    assert isinstance(meter, PowerMeter)
    assert meter.name and meter.rails
    with meter as entered:
        assert entered is meter
        first = meter.energy_j()
        assert 0 <= first < 10
        assert meter.energy_j() >= first


@pytest.mark.parametrize("rig", RIGS)
def test_what_is_drawn_is_counted_in_joules(rig: Rig, tmp_path: Path) -> None:
    meter, draw = rig(tmp_path)
    with meter:
        draw(3.0)
        assert meter.energy_j() == pytest.approx(3.0, rel=1e-5)
        draw(1.5)
        assert meter.energy_j() == pytest.approx(4.5, rel=1e-5)
    draw(100.0)
    with meter:
        assert meter.energy_j() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("rig", (*RIGS, machine_rig))
def test_a_meter_that_was_not_started_says_so(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="before it was started"):
        rig(tmp_path)[0].energy_j()


def test_rapl_counter_may_wrap(tmp_path: Path) -> None:
    counter = rapl_zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, range_uj=10_000_000)
    meter, reason = find_power_meter(tmp_path)
    assert meter is not None and reason == ""
    with meter:
        write(counter, 500000)
        assert meter.energy_j() == pytest.approx(1.5)
        write(counter, 900000)
        assert meter.energy_j() == pytest.approx(1.9)


def test_rapl_counts_each_package_once(tmp_path: Path) -> None:
    counters = [
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", 0),
        rapl_zone(tmp_path, "intel-rapl:1", "package-1", 0),
        rapl_zone(tmp_path, "intel-rapl:0:0", "core", 0),
        rapl_zone(tmp_path, "intel-rapl:2", "psys", 0),
        rapl_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    meter = meter_of(tmp_path)
    assert meter.rails == ("package-0", "package-1")
    with meter:
        for counter in counters:
            write(counter, 2000000)
        assert meter.energy_j() == pytest.approx(4.0)


def test_the_rail_that_feeds_the_module_is_not_added_to_those_behind_it(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, ORIN_NANO)
    meter = meter_of(tmp_path)
    assert meter.rails == ("VDD_IN",)


def test_without_such_a_rail_all_are_added_up(tmp_path: Path) -> None:
    agx_orin = (("VDD_GPU_SOC", 19000, 100), ("VDD_CPU_CV", 19000, 50), ("NC", 19000, 0))
    ina3221(tmp_path, 0, agx_orin)
    ina3221(tmp_path, 1, (("VIN_SYS_5V0", 5000, 900),))
    put(tmp_path, "class/hwmon/hwmon2/name", "ina226")
    put(tmp_path, "class/hwmon/hwmon2/power1_input", 2_500_000)
    put(tmp_path, "class/hwmon/hwmon3/name", "nvme")
    put(tmp_path, "class/hwmon/hwmon3/power1_input", 9_000_000)
    meter, _ = HwmonMeter.find(tmp_path)
    assert meter is not None
    assert meter.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "ina226 hwmon2")
    assert meter._read() == pytest.approx(1.9 + 0.95 + 4.5 + 2.5)


def test_a_thor_reads_what_it_draws_and_not_its_parts_as_well(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, (("VDD_GPU", 10000, 1000), ("VDD_CPU_SOC_MSS", 10000, 1000), ("VIN_SYS_5V0", 10000, 1000)))
    put(tmp_path, "class/hwmon/hwmon1/name", "ina238")
    put(tmp_path, "class/hwmon/hwmon1/power1_input", 40_000_000)
    meter = meter_of(tmp_path)
    assert meter.rails == ("VIN",)
    assert [rail.parent for rail in meter.tree] == ["VIN", "VIN", "VIN", None]
    clock = Clock()
    with HwmonMeter(rails_of(tmp_path), interval_s=None, clock=clock) as still:
        clock.now_s = 1.0
        assert still.energy_j() == pytest.approx(40.0)


def test_rails_may_be_chosen_but_never_with_their_parts(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, ORIN_NANO)
    meter, _ = HwmonMeter.find(tmp_path, ["VDD_SOC", "VDD_CPU_GPU_CV"])
    assert meter is not None and meter.rails == ("VDD_SOC", "VDD_CPU_GPU_CV")
    assert meter._read() == pytest.approx(2.0 + 1.5)
    with pytest.raises(UsageError, match="VDD_SOC lies behind VDD_IN"):
        HwmonMeter.find(tmp_path, ["VDD_SOC", "VDD_IN"])
    with pytest.raises(UsageError, match="choose from: VDD_IN"):
        HwmonMeter.find(tmp_path, ["VDD_CV"])


def test_a_nano_of_jetpack_4_shows_its_sensor_elsewhere(tmp_path: Path) -> None:
    put(tmp_path, "bus/i2c/devices/6-0040/name", "ina3221x")
    for number, (name, milliwatt) in enumerate((("POM_5V_IN", 3300), ("POM_5V_GPU", 400), ("POM_5V_CPU", 900))):
        put(tmp_path, f"bus/i2c/devices/6-0040/iio:device0/rail_name_{number}", name)
        put(tmp_path, f"bus/i2c/devices/6-0040/iio:device0/in_power{number}_input", milliwatt)
    meter = meter_of(tmp_path)
    assert meter.rails == ("POM_5V_IN",)
    assert {rail.name: rail.parent for rail in meter.tree}["POM_5V_CPU"] == "POM_5V_IN"
    with meter:
        assert meter.curve().power_w[0] == pytest.approx(3.3)


def test_how_far_a_rail_may_be_off_follows_its_shunt_and_its_pace(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, ORIN_NANO)
    (coarse,) = (rail for rail in rails_of(tmp_path) if rail.name == "VDD_IN")
    put(tmp_path, "class/hwmon/hwmon0/shunt1_resistor", 20_000)
    put(tmp_path, "class/hwmon/hwmon0/update_interval", 2)
    (fine,) = (rail for rail in rails_of(tmp_path) if rail.name == "VDD_IN")
    # 80 uV and 40 uV over 5 and 20 milliohms, at 5 V.
    assert (coarse.accuracy.offset_w, fine.accuracy.offset_w) == pytest.approx((0.08, 0.02))
    assert (coarse.accuracy.step_w, fine.accuracy.step_w) == pytest.approx((0.04, 0.01))
    assert coarse.accuracy.rate_hz < 200 < fine.accuracy.rate_hz
    meter = meter_of(tmp_path)
    assert meter.accuracy.rate_hz >= 350 and meter.accuracy.is_random
    assert fine.to_json()["unit"] == "W"


def test_a_jetson_that_shows_hwmon_below_its_bus_alone_is_read_once(tmp_path: Path) -> None:
    ina3221(tmp_path, 3, ORIN_NANO)
    below = tmp_path / "bus/i2c/devices/1-0040/hwmon"
    below.mkdir(parents=True)
    (below / "hwmon3").symlink_to(tmp_path / "class/hwmon/hwmon3")
    assert len(rails_of(tmp_path)) == 3


def test_power_that_changes_is_integrated_by_trapezoids() -> None:
    clock, power_mw = Clock(), [1000.0]
    with FakeMeter(lambda: power_mw[0], clock=clock) as meter:
        clock.now_s, power_mw[0] = 2.0, 3000.0
        assert meter.energy_j() == pytest.approx(4.0)
        clock.now_s, power_mw[0] = 3.0, 0.0
        assert meter.energy_j() == pytest.approx(5.5)


def test_the_background_thread_samples_and_ends() -> None:
    seen = threading.Event()
    reads = []

    def read() -> float:
        reads.append(1)
        if len(reads) >= 3:
            seen.set()
        return 1000.0

    with FakeMeter(read, interval_s=0.001) as meter:
        assert seen.wait(10)
        assert meter.energy_j() > 0
    assert not any(thread.name == "power meter" for thread in threading.enumerate())


def test_a_sensor_that_fails_while_sampling_is_not_taken_for_0(tmp_path: Path) -> None:
    ina3221(tmp_path, 0, ORIN_NANO)
    meter = meter_of(tmp_path)
    with meter:
        current = tmp_path / "class/hwmon/hwmon0/curr1_input"
        held_back = current.rename(tmp_path / "curr1_input")
        (sampling,) = [thread for thread in threading.enumerate() if thread.name == "power meter"]
        sampling.join(10)
        # It answers again: what it drew in between is not known.
        held_back.rename(current)
        with pytest.raises(DeviceError, match="curr1_input"):
            meter.energy_j()


def test_without_a_sensor_the_reason_is_told(tmp_path: Path) -> None:
    meter, reason = find_power_meter(tmp_path)
    assert meter is None
    assert "INA" in reason and "RAPL" in reason


def test_a_counter_that_may_not_be_read_is_told_with_the_remedy(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root reads everything: an unreadable counter is emulated by one that holds no number.
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", "")
    else:
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", 5).chmod(0)
    meter, reason = find_power_meter(tmp_path)
    assert meter is None
    assert "energy_uj" in reason


@pytest.fixture
def service_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jtop_meter, "SERVICE", tmp_path)


def test_without_its_service_jtop_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services: list[Any] = []
    monkeypatch.setattr(jtop_meter, "SERVICE", tmp_path / "gone")
    monkeypatch.setitem(sys.modules, "jtop", fake_jtop({"tot": {"power": 7000}}, services))
    meter, reason = JtopMeter.find()
    assert meter is None and services == []
    assert reason == "jtop does not answer (its service does not run); start its service: sudo systemctl restart jtop"


def fake_jtop(power: dict[str, Any], services: list[Any] | None = None) -> types.SimpleNamespace:
    """jetson-stats' module, for what its real service (test_jtop.py) can't be made to do."""
    started = [] if services is None else services

    class Service:
        def __init__(self, interval: float = 1.0) -> None:
            self.interval = interval
            self.tell: Callable[[Any], None] = lambda service: None

        def start(self) -> None:
            started.append(self)

        def attach(self, observer: Callable[[Any], None]) -> None:
            self.tell = observer

        def close(self) -> None:
            pass

        @property
        def power(self) -> dict[str, Any]:
            return power

    return types.SimpleNamespace(jtop=Service)


@pytest.mark.usefixtures("service_runs")
def test_jtop_is_used_where_sysfs_shows_no_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services: list[Any] = []
    monkeypatch.setitem(sys.modules, "jtop", fake_jtop({"rail": {}, "tot": {"power": 7000}}, services))
    meter, reason = find_power_meter(tmp_path)
    assert isinstance(meter, JtopMeter) and reason == ""
    clock = Clock()
    with JtopMeter(0.5, clock) as meter:
        clock.now_s = 2.0
        assert meter.energy_j() == pytest.approx(14.0)
        services[-1].tell(services[-1])
        assert meter.curve().energy_j.tolist() == pytest.approx([0.0, 14.0])
        assert meter.accuracy.rate_hz == pytest.approx(2.0) and not meter.accuracy.is_random
        clock.now_s = 9.0
        with pytest.raises(DeviceError, match="told nothing for 7 seconds"):
            meter.energy_j()
    # The client's thread outlives the block by an update, which begins nothing.
    services[-1].tell(services[-1])
    with pytest.raises(DeviceError, match="before it was started"):
        meter.energy_j()


@pytest.mark.usefixtures("service_runs")
def test_jtops_total_of_parts_and_whole_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rails = {name: {"power": 10_000, "online": True} for name in ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")}
    battery = {"battery": {"power": 9000, "status": "Discharging"}}
    power = {"rail": {**rails, **battery, "VIN": {"power": 40_000}}, "tot": {"power": 79_000}}
    monkeypatch.setitem(sys.modules, "jtop", fake_jtop(power))
    meter, reason = find_power_meter(tmp_path)
    assert meter is not None, reason
    with meter:
        assert meter.rails == ("VIN",)
        assert {rail.name: rail.parent for rail in meter.tree} == {**dict.fromkeys(rails, "VIN"), "VIN": None}


@pytest.mark.usefixtures("service_runs")
def test_jtop_without_a_total_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", fake_jtop({}))
    meter, reason = find_power_meter(tmp_path)
    assert meter is None and "no total power" in reason


def test_jtop_not_installed_is_a_missing_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    with pytest.raises(MissingDependencyError, match="pip install"), JtopMeter():
        pass
