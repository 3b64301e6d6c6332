"""Texas Instruments' power sensors: how far each chip may be off, by the nominal figures of its datasheet."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.devices.power.rails import Accuracy

SHUNT_TOLERANCE = 0.01
"""Of the resistors that NVIDIA's design guides and makers of HATs name; it adds to the chip's own gain error."""

USUAL_SHUNT_OHM = 0.005
"""Of Jetson boards, where the driver does not tell (Jetson AGX Xavier Series Product Design Guide, figure 5-14)."""


@dataclass(frozen=True)
class Chip:
    """Nominal figures of a datasheet, none of them measured here.

    Attributes:
        gain: Largest gain error of current and voltage together, over temperature, without the shunt.
        offset_v: Largest offset of the shunt voltage, in volts.
        step: Of a power reading, in watts for a shunt of 1 ohm at 5 V; it grows as the shunt gets smaller.
    """

    gain: float
    offset_v: float
    step: float

    def accuracy(self, interval_s: float, shunt_ohm: float = USUAL_SHUNT_OHM, volts: float = 5.0) -> Accuracy:
        """Of power on a rail of ``volts`` through this shunt."""
        return Accuracy(
            interval_s,
            self.gain + SHUNT_TOLERANCE,
            self.offset_v / shunt_ohm * volts,
            self.step / shunt_ohm * max(volts / 5, 1),
        )


_COARSE = Chip(0.01, 100e-6, 200e-6)
_FINE = Chip(0.002, 10e-6, 62.5e-6)
_FINEST = Chip(0.0015, 5e-6, 1e-6)

CHIPS = {
    "ina3221": Chip(0.005, 80e-6, 200e-6),
    "ina209": _COARSE,
    "ina219": _COARSE,
    "ina220": _COARSE,
    "ina226": _FINE,
    "ina228": _FINEST,
    "ina230": Chip(0.006, 50e-6, 62.5e-6),
    "ina231": Chip(0.006, 50e-6, 62.5e-6),
    "ina233": _FINE,
    "ina237": Chip(0.005, 50e-6, 1e-6),
    "ina238": _FINEST,
    "ina260": Chip(0.005, 10e-6, 20e-6),
}
"""Name in sysfs to the chip's nominal figures: TI's SBOS576 (INA3221), SBOS448 (INA219), SBOS547 (INA226), SBOSA20
(INA228), SLYS022 (INA238), SBOS656 (INA260) and their relatives."""
