"""A Jetson's sysfs in a mount namespace of its own, a wave on its rails, and jetson-stats' real service over it.

Run by test_jtop.py inside ``unshare -rmpf --mount-proc --kill-child``: everything here dies with it. Prints what the
meters read as one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.devices.power.curve import Curve
from multigraft.devices.power.power import PowerMeter

LOW_MA, HIGH_MA, MILLIVOLTS = 400, 1200, 5000
"""2 W and 6 W."""

SHORT_S, LONG_S = 0.25, 4.0
"""Periods: hundreds of readings through sysfs and tens through jtop, each step of which one of them misses by half."""

LOG = Path("/run/wave")
"""A line per step of the wave: when, and watts from then on."""

SERVER = "from jtop.service import JtopServer; JtopServer(force=True).loop_for_ever()"
PATIENCE_S = 20.0

MOST_GAP_S, TRIES = 0.5, 5
"""Readings further apart than that are of a machine that had no processor for them: it is measured anew."""


def put(path: str, text: object) -> Path:
    target = Path("/sys") / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"{text}\n")
    return target


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def prepare() -> None:
    """Empty places where sysfs, the service's socket and its settings are; a group ``jtop``."""
    etc = Path(tempfile.mkdtemp()) / "group"
    etc.write_text(Path("/etc/group").read_text() + f"jtop:x:{os.getgid()}:\n")
    mount("--bind", str(etc), "/etc/group")
    for folder in ("/sys", "/run", "/usr/local"):
        mount("-t", "tmpfs", "none", folder)
    for core in range(2):
        put(f"devices/system/cpu/cpu{core}/online", 1)
    put("devices/system/cpu/online", "0-1")
    # Read on an x86 machine, which the tests may run on.
    put("devices/virtual/dmi/id/product_name", "emulated")


def nano() -> list[Path]:
    """JetPack 4: NVIDIA's own driver. Files in mW, of all rails."""
    below = "bus/i2c/devices/6-0040"
    put(f"{below}/name", "ina3221x")
    files = []
    for number, (name, is_wave) in enumerate((("POM_5V_IN", True), ("POM_5V_GPU", False), ("POM_5V_CPU", False))):
        folder = f"{below}/iio:device0"
        put(f"{folder}/rail_name_{number}", name)
        put(f"{folder}/in_voltage{number}_input", MILLIVOLTS)
        current = put(f"{folder}/in_current{number}_input", 100)
        power = put(f"{folder}/in_power{number}_input", 500)
        files += [current, power] if is_wave else []
    return files


def jetpack5() -> list[Path]:
    """The kernel's own driver."""
    folder = "bus/i2c/devices/1-0040/hwmon/hwmon3"
    put("bus/i2c/devices/1-0040/name", "ina3221")
    put(f"{folder}/name", "ina3221")
    put(f"{folder}/update_interval", 2)
    for channel, name in enumerate(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), 1):
        put(f"{folder}/in{channel}_label", name)
        put(f"{folder}/in{channel}_input", MILLIVOLTS)
        put(f"{folder}/curr{channel}_input", 100)
    linked = Path("/sys/class/hwmon")
    linked.mkdir(parents=True)
    (linked / "hwmon3").symlink_to(Path("/sys") / folder)
    return [Path("/sys") / folder / "curr1_input"]


def wave(files: list[Path], period_s: float) -> None:
    """Write both halves of each period, for ever, in time with the clock that everybody has."""
    opened = [(os.open(path, os.O_WRONLY), "power" in path.name) for path in files]
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = int(time.monotonic() / period_s * 2)
    while True:
        number += 1
        time.sleep(max(0.0, number * period_s / 2 - time.monotonic()))
        milliamperes = HIGH_MA if number % 2 else LOW_MA
        for descriptor, is_power in opened:
            value = milliamperes * MILLIVOLTS // 1000 if is_power else milliamperes
            # In one call and of one length, as a register changes: nobody reads half of it.
            os.pwrite(descriptor, f"{value:05d}\n".encode(), 0)
        os.write(log, f"{time.perf_counter()} {milliamperes * MILLIVOLTS / 1e6}\n".encode())


@contextlib.contextmanager
def drawing(files: list[Path], period_s: float) -> Iterator[None]:
    """A wave on the rails."""
    LOG.unlink(missing_ok=True)
    writer = multiprocessing.Process(target=wave, args=(files, period_s), daemon=True)
    writer.start()
    # The truth is known from its first step on.
    while not (LOG.exists() and LOG.stat().st_size):
        time.sleep(0.01)
    yield
    writer.terminate()
    writer.join()


def truth(curve: Curve) -> float:
    """Mean watts of the wave over the curve's time, as it was written."""
    steps = np.loadtxt(LOG)
    start_s, end_s = curve.times_s[0], curve.times_s[-1]
    times, watts = np.clip(np.append(steps[:, 0], end_s), start_s, end_s), steps[:, 1]
    return float((np.diff(times) * watts).sum() / (end_s - start_s))


def told(meter: PowerMeter, curve: Curve) -> dict[str, Any]:
    """Mean watts as they were read and as they were, rails, readings a second, and the most seconds between two."""
    start_s, end_s = float(curve.times_s[0]), float(curve.times_s[-1])
    return {
        "watts": curve.between(start_s, end_s) / (end_s - start_s),
        "truth": truth(curve),
        "rails": meter.rails,
        "rate_hz": (len(curve.times_s) - 1) / (end_s - start_s),
        "gap_s": float(np.diff(curve.times_s).max()),
    }


def undisturbed(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The first that no busy machine disturbed, or else the last."""
    found = measured()
    for _ in range(TRIES - 1):
        if found["gap_s"] < MOST_GAP_S:
            break
        found = measured()
    return found


def through_sysfs(seconds: float) -> dict[str, Any]:
    from multigraft.devices.power.hwmon_meter import HwmonMeter

    meter, reason = HwmonMeter.find()
    assert meter is not None, reason
    with meter:
        time.sleep(seconds)
        return told(meter, meter.curve())


def through_jtop(seconds: float, interval_s: float) -> dict[str, Any]:
    from multigraft.devices.power.jtop_meter import JtopMeter
    from multigraft.errors import DeviceError

    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=sys.stderr)
    began = time.monotonic()
    try:
        while True:
            try:
                with JtopMeter(interval_s) as meter:
                    time.sleep(seconds)
                    return told(meter, meter.curve())
            except DeviceError:
                # The service is not up yet.
                if time.monotonic() - began > PATIENCE_S or server.poll() is not None:
                    raise
                time.sleep(0.2)
    finally:
        server.terminate()
        server.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("board", choices=["nano", "jetpack5"])
    parser.add_argument("--sysfs", type=float, default=3.0)
    parser.add_argument("--jtop", type=float, default=10.0)
    options = parser.parse_args()
    prepare()
    files = nano() if options.board == "nano" else jetpack5()
    found = {}
    with drawing(files, SHORT_S):
        found["sysfs"] = undisturbed(lambda: through_sysfs(options.sysfs))
    if options.jtop:
        with drawing(files, LONG_S):
            found["jtop"] = undisturbed(lambda: through_jtop(options.jtop, 0.1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
