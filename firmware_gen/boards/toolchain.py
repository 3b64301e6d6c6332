"""The GNU tools that build for a core."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from multigraft.errors import MissingDependencyError
from multigraft.firmware_gen.boards.cores import CoreFeatures

APT_PACKAGES = (
    "gcc-arm-none-eabi",
    "libnewlib-arm-none-eabi",
    "gcc-riscv64-unknown-elf",
    "qemu-system-arm",
    "qemu-system-misc",
)
"""Debian packages that build and emulate every board of :mod:`multigraft.firmware_gen.boards.boards`."""


@dataclass(frozen=True)
class Toolchain:
    """What compiles for one architecture.

    Attributes:
        prefix: What the tools' names begin with.
        flags: Needed in addition to the core's own.
        packages: Debian packages that hold the compiler.
    """

    prefix: str
    flags: tuple[str, ...]
    packages: str

    def tool(self, name: str) -> str:
        """Path of one tool of this chain, such as "gcc" or "objdump".

        Raises:
            MissingDependencyError: It is not installed.
        """
        program = shutil.which(self.prefix + name)
        if program is None:
            raise MissingDependencyError(
                f"{self.prefix}{name} is not installed", f"install it with: apt-get install {self.packages}"
            )
        return program


TOOLCHAINS: dict[str, Toolchain] = {
    "arm": Toolchain("arm-none-eabi-", (), "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    # The older ISA specification counts the CSR instructions as part of rv32i, which is how the libraries are named.
    "riscv": Toolchain("riscv64-unknown-elf-", ("-misa-spec=2.2", "-mcmodel=medany"), "gcc-riscv64-unknown-elf"),
}


def toolchain_of(core: CoreFeatures) -> Toolchain:
    """The toolchain that builds for a core."""
    return TOOLCHAINS[core.architecture]
