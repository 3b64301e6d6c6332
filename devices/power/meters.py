"""Power meters by name, as a command takes them."""

from __future__ import annotations

from collections.abc import Callable

from multigraft.devices.power.meter_help import HELP
from multigraft.devices.power.power import PowerMeter, find_power_meter
from multigraft.errors import DeviceError, UsageError

NONE = "none"


def open_meter(text: str) -> tuple[PowerMeter | None, str]:
    """The meter that a text names, not entered yet.

    Args:
        text: As :data:`~multigraft.devices.power.meter_help.HELP` says.

    Returns:
        The meter and "", or, for ``auto`` and ``none``, None and the reason why there is none.

    Raises:
        DeviceError: The sensor that was named is not there or does not answer.
        MissingDependencyError: Its library is not installed.
        UsageError: No meter has such a name, or what follows the name does not fit it.
    """
    name, _, rest = text.partition(":")
    if name == "auto" and not rest:
        return find_power_meter()
    if name == NONE and not rest:
        return None, "not asked for"
    if name not in _OPENERS:
        raise UsageError(f"there is no power meter {text}", f"choose from: {HELP}")
    return _OPENERS[name](rest), ""


def _found(name: str, pair: tuple[PowerMeter | None, str]) -> PowerMeter:
    meter, reason = pair
    if meter is None:
        raise DeviceError(reason or f"this machine has no {name}", "name another meter, or none")
    return meter


def _hwmon(rest: str) -> PowerMeter:
    from multigraft.devices.power.hwmon_meter import HwmonMeter

    return _found("INA sensor", HwmonMeter.find(names=[part.strip() for part in rest.split(",") if part.strip()]))


def _jtop(rest: str) -> PowerMeter:
    from multigraft.devices.power.jtop_meter import FASTEST_S, JtopMeter

    return JtopMeter(_number(rest, "jtop:0.1, in seconds") if rest else FASTEST_S)


def _pmic(rest: str) -> PowerMeter:
    from multigraft.devices.power.pmic_meter import PmicMeter

    _refuse(rest, "pmic")
    return _found("power controller of a Raspberry Pi 5 (no vcgencmd)", PmicMeter.find())


def _rapl(rest: str) -> PowerMeter:
    from multigraft.devices.power.rapl_meter import RaplMeter

    _refuse(rest, "rapl")
    return _found("RAPL counter", RaplMeter.find())


def _tc66(rest: str) -> PowerMeter:
    from multigraft.devices.power.tc66_meter import Tc66Meter

    if not rest:
        raise UsageError("tc66 needs a port", "write it as in tc66:/dev/ttyACM0")
    return Tc66Meter(rest)


def _fnirsi(rest: str) -> PowerMeter:
    from multigraft.devices.power.fnirsi_meter import FnirsiMeter

    return FnirsiMeter(rest or None)


def _joulescope(rest: str) -> PowerMeter:
    from multigraft.devices.power.joulescope_meter import JoulescopeMeter

    _refuse(rest, "joulescope")
    return JoulescopeMeter()


def _ppk2(rest: str) -> PowerMeter:
    from multigraft.devices.power.ppk2_meter import USB_MILLIVOLTS, Ppk2Meter

    port, _, millivolts = rest.partition(",")
    if not port:
        raise UsageError("ppk2 needs a port", "write it as in ppk2:/dev/ttyACM0")
    return Ppk2Meter(port, round(_number(millivolts, "ppk2:PORT,3300")) if millivolts else USB_MILLIVOLTS)


def _fake(rest: str) -> PowerMeter:
    from multigraft.devices.power.fake_meter import FakeMeter

    return FakeMeter(1000 * _number(rest, "fake:2.5, in watts") if rest else 1000.0, interval_s=0.005)


def _number(text: str, example: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise UsageError(f"{text} is no number that this meter takes", f"write it as in {example}")
    return value


def _refuse(rest: str, name: str) -> None:
    if rest:
        raise UsageError(f"{name} takes nothing after a colon", f"write {name}")


_OPENERS: dict[str, Callable[[str], PowerMeter]] = {
    "hwmon": _hwmon,
    "jtop": _jtop,
    "pmic": _pmic,
    "rapl": _rapl,
    "tc66": _tc66,
    "fnirsi": _fnirsi,
    "joulescope": _joulescope,
    "ppk2": _ppk2,
    "fake": _fake,
}
