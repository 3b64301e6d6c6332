"""Heat, throttling, power and its supply."""

from __future__ import annotations

import os

from multigraft.devices.power.power import find_power_meter
from multigraft.devices.thermal import HAS_OCCURRED, THROTTLED_NOW, VCGENCMD, Thermal
from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.system import System

HOT_C = 80.0
"""From here on Raspberry Pi lowers its clock (raspberrypi.com/documentation/computers/raspberry-pi.html)."""

UNDER_VOLTAGE = 0x1
"""Bit 0 of the firmware's state; bit 16 for some time since the start."""

_COOL = "give it a heat sink or a fan, and air"
_SUPPLY = "use the board's own power supply and a short cable: 5.1 V at 3 A, 5 A for a Pi 5"

_STATES = (
    ("power supply", UNDER_VOLTAGE, "under-voltage", "no under-voltage", _SUPPLY),
    ("throttling", ~UNDER_VOLTAGE, "slowed down", "not", _COOL),
)
"""Title, the bits that are wrong, and how each way is said."""


def check_heat(system: System) -> list[Finding]:
    """Temperature now, and whether the processor is or was slowed down."""
    thermal = Thermal(system.root / "sys", _vcgencmd(system))
    hottest = thermal.temperature_c()
    if hottest is None:
        found = [
            Finding("temperature", "missing", "no thermal zone can be read", "run on the board, outside a container")
        ]
    else:
        is_hot = hottest >= HOT_C
        found = [Finding("temperature", "wrong" if is_hot else "ok", f"{hottest:.1f} °C", _COOL if is_hot else "")]
    return [*found, *_throttling(thermal)]


def _throttling(thermal: Thermal) -> list[Finding]:
    state, counts = thermal.firmware_state(), thermal.throttle_counts()
    if state is not None:
        now, before = state & THROTTLED_NOW, (state & HAS_OCCURRED) >> 16
        found = []
        for name, bits, wrong, well, remedy in _STATES:
            if (now | before) & bits:
                when = "now" if now & bits else "some time since the start"
                found.append(Finding(name, "wrong", f"{wrong} {when} ({state:#x})", remedy))
            else:
                found.append(Finding(name, "ok", f"{well} since the start"))
        return found
    if counts is None:
        return [
            Finding("throttling", "missing", "this system does not tell", "compare figures of several runs of bench")
        ]
    if counts:
        return [
            Finding("throttling", "ok", f"{counts:,} times since the start", "bench tells whether it was during a run")
        ]
    return [Finding("throttling", "ok", "not since the start")]


def _vcgencmd(system: System) -> tuple[str, ...]:
    # By the doctor's own PATH, which may be another machine's; where there is no such program, env says nothing.
    return ("env", f"PATH={system.environment.get('PATH', os.defpath)}", *VCGENCMD)


def check_power(system: System) -> list[Finding]:
    """The sensor that bench and energy would take."""
    meter, reason = find_power_meter(system.root / "sys")
    if meter is not None:
        return [Finding("power sensor", "ok", f"{meter.name}: {', '.join(meter.rails)}")]
    remedy = "connect an INA219, INA226 or INA260 as a hwmon device; without one energy stands as not measured"
    if "sudo chmod" in reason:
        remedy = f"run: sudo chmod{reason.partition('sudo chmod')[2].partition(',')[0]}"
    return [Finding("power sensor", "missing", reason.removeprefix("no power sensor: "), remedy)]
