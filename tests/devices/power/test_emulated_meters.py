"""USB meters by their real libraries, against devices emulated on a pseudo-terminal; and a Pi 5's vcgencmd."""

from __future__ import annotations

import os
import pty
import stat
import struct
import sys
import threading
import time
import tty
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from multigraft.devices.power import pmic_fit
from multigraft.devices.power.fnirsi_meter import FnirsiMeter
from multigraft.devices.power.joulescope_meter import JoulescopeMeter
from multigraft.devices.power.meters import open_meter
from multigraft.devices.power.pmic_fit import PUBLISHED, PmicFit
from multigraft.devices.power.pmic_meter import PmicMeter, read_rails
from multigraft.devices.power.power import PowerMeter
from multigraft.devices.power.ppk2_meter import Ppk2Meter
from multigraft.devices.power.tc66_meter import Tc66Meter
from multigraft.errors import DeviceError, InputError, MissingDependencyError, UsageError
from multigraft.runtime.deploy.store import state_folder


@contextmanager
def terminal(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A serial port; ``answer`` gives what is sent back for what came in, and is asked often."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.wait(0.002):
            try:
                came = os.read(ours, 4096)
            except BlockingIOError:
                came = b""
            reply = answer(came)
            if reply:
                os.write(ours, reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        is_over.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def tc66(volts: float, amperes: float, damage: bool = False) -> Callable[[bytes], bytes]:
    """What a TC66 answers to ``getva``: three packets of 64 bytes with a checksum each, under AES."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from tc66_serial.codec import _AES_KEY
    from tc66_serial.crc16 import crc16_modbus

    packets = b""
    for number in (1, 2, 3):
        packet = bytearray(60)
        packet[:4] = b"pac%d" % number
        if number == 1:
            packet[4:8] = b"TC66"
            figures = (round(volts * 1e4), round(amperes * 1e5), round(volts * amperes * 1e4))
            packet[48:60] = struct.pack("<III", *figures)
        packets += bytes(packet) + struct.pack("<I", crc16_modbus(bytes(packet)) ^ damage)
    sealed = Cipher(algorithms.AES(_AES_KEY), modes.ECB()).encryptor()
    reply = sealed.update(packets) + sealed.finalize()
    return lambda came: reply if b"getva" in came else b""


class Ppk2:
    """What a PPK2 sends: its calibration, then four bytes a value while it measures."""

    RANGE = 4
    """The coarsest: 0.043 ohm."""

    def __init__(self, amperes: float) -> None:
        self.is_measuring = False
        # ppk2-api: current = (adc * 4 - O) * adc_mult / R, with O = 0, R = 0.043 and the other factors 1.
        adc = round(amperes * 0.043 / (1.8 / 163840) / 4)
        self._value = struct.pack("<I", adc | self.RANGE << 14)

    def __call__(self, came: bytes) -> bytes:
        reply = b""
        for command in came:
            if command == 0x19:
                reply = b"Calibrated: 0\nR4: 0.043\nGS4: 0\nGI4: 1\nHW: 9173\nIA: 59\nEND"
            elif command in (0x06, 0x07):
                self.is_measuring = command == 0x06
        if reply:
            return reply
        return self._value * 50 if self.is_measuring else b""


def reads(meter: PowerMeter, watts: float, rel: float) -> None:
    """The contract: joules count up from 0 inside the block alone, and the curve tells the power."""
    assert isinstance(meter, PowerMeter)
    assert meter.name and [rail.name for rail in meter.tree if rail.parent is None] == list(meter.rails)
    with pytest.raises(DeviceError, match="before it was started"):
        meter.energy_j()
    for _ in range(2):
        with meter as entered:
            assert entered is meter
            first_j = meter.energy_j()
            assert 0 <= first_j < watts
            time.sleep(0.25)
            assert meter.energy_j() > first_j
            curve = meter.curve()
            assert curve.power_w[-1] == pytest.approx(watts, rel=rel)
            spent_s = curve.times_s[-1] - curve.times_s[0]
            assert curve.between(curve.times_s[0], curve.times_s[-1]) == pytest.approx(watts * spent_s, rel=rel)


def test_a_tc66_is_read_by_tc66_serial() -> None:
    with terminal(tc66(5.1, 0.8)) as port:
        reads(Tc66Meter(port, interval_s=0.02), 4.08, 1e-3)


def test_a_damaged_reading_of_a_tc66_is_refused() -> None:
    with terminal(tc66(5.1, 0.8, damage=True)) as port, pytest.raises(DeviceError, match="damaged"), Tc66Meter(port):
        pass


def test_a_tc66_that_is_not_there_or_silent_says_so() -> None:
    with pytest.raises(DeviceError, match="cannot be opened"), Tc66Meter("/dev/nothing"):
        pass
    with terminal(lambda came: b"") as port, pytest.raises(DeviceError, match="gives no reading"), Tc66Meter(port):
        pass


def test_a_ppk2_is_read_by_ppk2_api() -> None:
    kit = Ppk2(0.4)
    with terminal(kit) as port:
        reads(Ppk2Meter(port, 5000), 2.0, 0.02)
        began = time.monotonic()
        while kit.is_measuring and time.monotonic() - began < 10:
            time.sleep(0.01)
    assert not kit.is_measuring


class Joulescope:
    """The library's device, as far as it is used: a callback with sums, which begin anywhere, and a time of its own."""

    def __init__(self, watts: float) -> None:
        self._watts, self._is_over, self.now_s = watts, threading.Event(), 0.0
        self.parameters: dict[str, object] = {}

    def open(self) -> None:
        self._is_over = threading.Event()

    def parameter_set(self, name: str, value: object) -> None:
        self.parameters[name] = value

    def statistics_callback_register(self, tell: Callable[[Any], None], source: str) -> None:
        def run(is_over: threading.Event) -> None:
            while not is_over.wait(0.01):
                self.now_s += 0.05
                tell({"accumulators": {"energy": {"value": 100 + self.now_s * self._watts, "units": "J"}}})

        threading.Thread(target=run, args=(self._is_over,), daemon=True).start()

    def close(self) -> None:
        self._is_over.set()


def test_a_joulescope_counts_joules_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Joulescope(3.0)
    library = types.SimpleNamespace(scan_require_one=lambda **options: device)
    monkeypatch.setitem(sys.modules, "joulescope", library)
    reads(JoulescopeMeter(clock=lambda: device.now_s), 3.0, 1e-6)
    assert device.parameters["v_range"] == "15V"


def fnirsi_library(volts: float, amperes: float, count: int = 1) -> types.SimpleNamespace:
    """usb-multimeter's classes, which open a USB device of their own and need Python 3.12."""

    class Meter:
        def __init__(self, config: Any) -> None:
            self._stop = config.stop_provider

        def setup_device(self) -> None:
            pass

        def run(self, logger: Any) -> None:
            while not self._stop.should_stop():
                logger.log([types.SimpleNamespace(voltage=volts, current=amperes)] * 4)
                time.sleep(0.01)

    Meter.Config = types.SimpleNamespace  # type: ignore[attr-defined]
    devices = [object()] * count
    return types.SimpleNamespace(
        USBMeter=Meter, all_devices=lambda: devices, devices_by_serial_number=lambda n: devices
    )


def test_a_fnirsi_meter_is_read_by_usb_multimeter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usb_multimeter", fnirsi_library(5.0, 0.5))
    reads(FnirsiMeter(), 2.5, 1e-6)
    monkeypatch.setitem(sys.modules, "usb_multimeter", fnirsi_library(5.0, 0.5, count=2))
    with pytest.raises(DeviceError, match="2 such USB meters"), FnirsiMeter():
        pass


@pytest.mark.parametrize(
    ("meter", "module"),
    [
        ("tc66:x", "tc66_serial"),
        ("ppk2:x", "ppk2_api.ppk2_api"),
        ("joulescope", "joulescope"),
        ("fnirsi", "usb_multimeter"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    meter: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    opened, _ = open_meter(meter)
    assert opened is not None
    with pytest.raises(MissingDependencyError, match=r"\[(meters|joulescope)\]"), opened:
        pass


@pytest.mark.parametrize("text", ["volts", "hwmon2", "tc66", "ppk2", "rapl:1", "fake:much", "jtop:0", "none:x"])
def test_a_meter_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises((UsageError, DeviceError)):
        open_meter(text)


RAILS = (
    "3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS", "0V8_SW", "VDD_CORE", "3V3_DAC", "3V3_ADC",
    "0V8_AON", "HDMI",
)  # fmt: skip


def vcgencmd(folder: Path, amperes: float, knows: bool = True) -> Path:
    """A Pi 5's program: twelve rails of 1 V and ``amperes`` each, and inputs that have no current."""
    lines = [f"{name:>12}_A current({i})={amperes:.8f}A" for i, name in enumerate(RAILS)]
    lines += [f"{name:>12}_V volt({i + 12})=1.00000000V" for i, name in enumerate(RAILS)]
    lines += ["     EXT5V_V volt(24)=5.11290000V", "      BATT_V volt(25)=0.00000000V"]
    said = "\n".join(lines) if knows else 'error=1 error_msg="Command not registered"'
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\ntest \"$1\" = pmic_read_adc || exit 1\ncat <<'END'\n{said}\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_pi_5_draws_what_the_fit_makes_of_its_rails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    command = (str(vcgencmd(tmp_path, 0.25)), "pmic_read_adc")
    assert sum(read_rails(command).values()) == pytest.approx(3.0)
    meter, reason = PmicMeter.find(command=command)
    assert meter is not None, reason
    assert len(meter.tree) == 13 and meter.rails == ("board (fit)",)
    reads(PmicMeter(command=command, interval_s=0.05), 1.145 * 3 + 0.588, 1e-6)


def test_a_fit_that_was_kept_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    command = (str(vcgencmd(tmp_path, 0.25)), "pmic_read_adc")
    PmicFit(2.0, 0.5, 0.03, 40, "this").write(tmp_path / "multigraft" / "pmic-fit.json")
    meter = PmicMeter(command=command, interval_s=None)
    with meter:
        assert meter.curve().power_w[0] == pytest.approx(6.5)
    assert meter.accuracy.gain == 0.03 < PUBLISHED.error
    (tmp_path / "multigraft" / "pmic-fit.json").write_text("{}")
    with pytest.raises(InputError, match="holds no calibration"):
        PmicMeter(command=command)


def test_the_fit_of_a_machine_is_that_of_users_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    # As a service has it whose user systemd made.
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr(pmic_fit, "SHARED", tmp_path)
    assert pmic_fit.known_fit() is PUBLISHED
    fit = PmicFit(2.0, 0.5, 0.03, 40, "this")
    fit.write(tmp_path / pmic_fit.NAME)
    assert pmic_fit.known_fit() == fit
    with pytest.raises(UsageError, match="no home folder"):
        state_folder()


def test_a_pi_4_has_no_such_command(tmp_path: Path) -> None:
    meter, reason = PmicMeter.find(command=(str(vcgencmd(tmp_path, 0.25, knows=False)), "pmic_read_adc"))
    assert meter is None and "0 rails of 12" in reason and "Command not registered" in reason
    assert PmicMeter.find(command=("no-such-vcgencmd",)) == (None, "")


def test_a_line_is_fitted_with_its_spread() -> None:
    rails = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    fit = PmicFit.of(rails, [1.2 * w + 0.7 for w in rails], meter_gain=0.015)
    assert (fit.slope, fit.offset_w, fit.error) == pytest.approx((1.2, 0.7, 0.015))
    noisy = PmicFit.of(rails, [1.2 * w + 0.7 + 0.1 * (-1) ** i for i, w in enumerate(rails)], meter_gain=0.015)
    assert noisy.error > 0.03
    for wrong in ([3.0] * 6, [9.0, 2.0, 7.0, 1.0, 8.0, 3.0], [-w for w in rails]):
        with pytest.raises(InputError, match="do not agree"):
            PmicFit.of(rails, wrong, meter_gain=0.015)
    with pytest.raises(InputError, match="give no line"):
        PmicFit.of([3.0] * 8, [4.0] * 8, meter_gain=0.015)
