"""What there is to know about a board: its memories, serial port, flashing tool and emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

UartDriver = Literal["cmsdk", "stm32", "nrf51", "ns16550"]
FlashMethod = Literal["uf2", "openocd", "esptool", "pyocd", "stm32loader"]
Framework = Literal["pico-sdk", "arduino", "esp-idf", "stm32cube"]


@dataclass(frozen=True)
class Region:
    """Memory the linker may fill, ``size`` bytes from address ``start``.

    Attributes:
        dma: Peripherals reach it; inputs and outputs of a model lie in no other.
        section: What the framework's linker script puts there, for boards without a start-up of ours. A further RAM
            region without one is not used.
    """

    name: str
    kind: Literal["flash", "ram"]
    start: int
    size: int
    dma: bool = True
    section: str = ""


@dataclass(frozen=True)
class Uart:
    """The serial port the firmware talks on.

    ``clock_hz`` is the peripheral clock the baud rate is divided from. ``pins`` is for people.
    """

    driver: UartDriver
    base: int
    clock_hz: int
    pins: str = ""
    baud: int = 115_200


@dataclass(frozen=True)
class Flashing:
    """How an image gets onto the board.

    Args:
        method: The tool.
        target: What the tool calls the chip (OpenOCD target file, esptool chip, pyocd target, stm32loader family, or
            the Board-ID of the UF2 drive).
        chip_id: What the chip itself says it is: UF2 family number, DBGMCU device id, FICR part; 0 if unknown.
        chip_register: Address where it says so, for debuggers; 0 if the tool asks by itself.
        base: Address a raw binary is written to.
        usb: Vendor and product ids of the USB port the board shows, to tell boards from other serial ports.
    """

    method: FlashMethod
    target: str
    chip_id: int = 0
    base: int = 0
    chip_register: int = 0
    usb: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Qemu:
    """The emulated board: ``qemu-system-<system> -M machine``, with additional ``options``."""

    system: Literal["arm", "riscv32"]
    machine: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdateSlots:
    """Flash for two images, of which a boot loader of ours runs the newest whole one.

    Args:
        driver: Name of the C file that erases and programs, without suffix.
        base: Address that the driver counts from.
        starts: Addresses of the slots, each the first of a sector.
        size: Bytes of one slot.
        header: Bytes of it in front of the image.
        boot: Flash and RAM of the boot loader.
        in_place: Images run where they lie, each linked for its slot, the board's flash region being that of the first.
            Otherwise the boot loader copies them to that region.
    """

    driver: str
    base: int
    starts: tuple[int, int]
    size: int
    header: int
    boot: tuple[Region, Region]
    in_place: bool = False


@dataclass(frozen=True)
class Board:
    """A board.

    A board with a ``uart`` has a start-up of ours and gets a whole image; one without gets a library for ``framework``.

    Attributes:
        name: What the board is called on the command line.
        title: What its maker calls it.
        core: Key in :data:`multigraft.firmware_gen.boards.cores.CORES`.
        regions: Flash and RAM, the first of each kind being the one for code and for data and stack.
        clock_hz: What the processor runs at after start-up.
        uart: The serial port of a whole image; None for a library.
        flashing: How an image gets onto the board; None if no tool of ours does it.
        qemu: The emulated board; None if there is none.
        framework: What the library is made for, on a board without a ``uart``.
        setup: Name of the C file that sets up clock and pins, without suffix, or "".
        define: Preprocessor names the target files need for this board.
        slots: Where updates go, on a board with a boot loader of ours.
    """

    name: str
    title: str
    core: str
    regions: tuple[Region, ...]
    clock_hz: int
    uart: Uart | None = None
    flashing: Flashing | None = None
    qemu: Qemu | None = None
    framework: Framework | None = None
    setup: str = ""
    define: tuple[str, ...] = field(default=())
    slots: UpdateSlots | None = None

    def region(self, kind: Literal["flash", "ram"]) -> Region:
        """The first region of a kind."""
        return next(region for region in self.regions if region.kind == kind)

    def more_ram(self) -> tuple[Region, ...]:
        """The RAM regions behind the first one."""
        return tuple(r for r in self.regions if r.kind == "ram")[1:]

    def capacity(self, kind: Literal["flash", "ram"]) -> int:
        """Bytes of all regions of a kind."""
        return sum(region.size for region in self.regions if region.kind == kind)
