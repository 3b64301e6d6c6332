"""What the generator has to know about a processor core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CoreFeatures:
    """A processor core as the kernels see it.

    Attributes:
        name: What people call it.
        architecture: ``arm`` or ``riscv``.
        gcc_flags: Flags that make gcc emit code for exactly this core.
        dsp: It has the Armv7E-M DSP instructions (SMLAD, SXTB16, SMLAL).
        mve: It has Helium (Armv8.1-M MVE) with integer lanes.
        fpu: It has single precision floating point in hardware.
        registers: Registers that arithmetic may use freely.
    """

    name: str
    architecture: str
    gcc_flags: tuple[str, ...]
    dsp: bool = False
    mve: bool = False
    fpu: bool = False
    registers: int = 13


M0PLUS = CoreFeatures("Cortex-M0+", "arm", ("-mthumb", "-mcpu=cortex-m0plus", "-mfloat-abi=soft"), registers=8)
M3 = CoreFeatures("Cortex-M3", "arm", ("-mthumb", "-mcpu=cortex-m3", "-mfloat-abi=soft"))
M4 = CoreFeatures(
    "Cortex-M4", "arm", ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"), dsp=True, fpu=True
)
M7 = CoreFeatures(
    "Cortex-M7", "arm", ("-mthumb", "-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), dsp=True, fpu=True
)
M33 = CoreFeatures(
    "Cortex-M33", "arm", ("-mthumb", "-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), dsp=True, fpu=True
)
M55 = CoreFeatures(
    "Cortex-M55", "arm", ("-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard"), dsp=True, mve=True, fpu=True
)
RV32IMC = CoreFeatures("RV32IMC", "riscv", ("-march=rv32imc", "-mabi=ilp32"), registers=28)

CORES: dict[str, CoreFeatures] = {
    "m0plus": M0PLUS,
    "m3": M3,
    "m4": M4,
    "m7": M7,
    "m33": M33,
    "m55": M55,
    "rv32imc": RV32IMC,
}
"""Short name to core."""
