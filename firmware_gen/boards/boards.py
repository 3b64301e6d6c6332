"""The boards firmware is generated for: one entry per board, nothing about a board anywhere else.

Addresses and sizes are from the reference manuals (RM0090, RM0390, RM0433, nRF51 and nRF52840 product
specifications, RP2040 and RP2350 datasheets, Arm application notes AN385, AN386, AN500, AN505, AN547) and, for
emulated boards, from QEMU's documentation of the machine.
"""

from __future__ import annotations

from dataclasses import replace

from multigraft.errors import UsageError
from multigraft.firmware_gen.boards.board import Board, Flashing, Qemu, Region, Uart, UpdateSlots

KIB = 1024
MIB = 1024 * KIB


def _flash(start: int, size: int) -> Region:
    return Region("FLASH", "flash", start, size)


def _ram(start: int, size: int) -> Region:
    return Region("RAM", "ram", start, size)


_STM32F4_HSI_PLL = "setup_stm32f4"
"""168 MHz from the internal oscillator, APB1 at 42 MHz, APB2 at 84 MHz."""

BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board(
            "pico",
            "Raspberry Pi Pico (RP2040)",
            "m0plus",
            (
                _flash(0x1000_0000, 2 * MIB),
                _ram(0x2000_0000, 256 * KIB),
                # The SDK keeps the upper half of each scratch bank for the stack of one processor.
                Region("SCRATCH_X", "ram", 0x2004_0000, 2 * KIB, section=".scratch_x.model"),
                Region("SCRATCH_Y", "ram", 0x2004_1000, 2 * KIB, section=".scratch_y.model"),
            ),
            125_000_000,
            flashing=Flashing("uf2", "RPI-RP2", 0xE48BFF56, 0x1000_0000, usb=((0x2E8A, 0x000A), (0x2E8A, 0x0003))),
            framework="pico-sdk",
        ),
        Board(
            "pico2",
            "Raspberry Pi Pico 2 (RP2350)",
            "m33",
            (_flash(0x1000_0000, 4 * MIB), _ram(0x2000_0000, 512 * KIB)),
            150_000_000,
            flashing=Flashing("uf2", "RP2350", 0xE48BFF59, 0x1000_0000, usb=((0x2E8A, 0x0009), (0x2E8A, 0x000F))),
            framework="pico-sdk",
        ),
        Board(
            "nucleo-f446re",
            "ST Nucleo-F446RE",
            "m4",
            (_flash(0x0800_0000, 512 * KIB), _ram(0x2000_0000, 128 * KIB)),
            168_000_000,
            Uart("stm32", 0x4000_4400, 42_000_000, "USART2 on PA2 and PA3, the debugger's USB port"),
            Flashing("openocd", "stm32f4x", 0x421, 0x0800_0000, 0xE004_2000, ((0x0483, 0x374B), (0x0483, 0x3752))),
            setup=_STM32F4_HSI_PLL,
            define=("USART2_PA2_PA3",),
        ),
        Board(
            "netduinoplus2",
            "Netduino Plus 2 (STM32F405)",
            "m4",
            (
                _flash(0x0800_0000, 1 * MIB),
                _ram(0x2000_0000, 128 * KIB),
                # Data only, on the processor's own bus. QEMU has it from version 8 on.
                Region("CCM", "ram", 0x1000_0000, 64 * KIB, dma=False),
            ),
            168_000_000,
            Uart("stm32", 0x4001_1000, 84_000_000, "USART1 on PA9 and PA10"),
            Flashing("stm32loader", "F4", 0x413, 0x0800_0000),
            Qemu("arm", "netduinoplus2"),
            setup=_STM32F4_HSI_PLL,
            define=("USART1_PA9_PA10",),
        ),
        Board(
            "nucleo-h743",
            "ST Nucleo-H743ZI",
            "m7",
            (
                _flash(0x0800_0000, 2 * MIB),
                Region("RAM", "ram", 0x2400_0000, 512 * KIB),
                Region("DTCM", "ram", 0x2000_0000, 128 * KIB, dma=False, section=".dtcm"),
            ),
            480_000_000,
            flashing=Flashing(
                "openocd", "stm32h7x", 0x450, 0x0800_0000, 0x5C00_1000, ((0x0483, 0x374E), (0x0483, 0x374B))
            ),
            framework="stm32cube",
        ),
        Board(
            "nano33ble",
            "Arduino Nano 33 BLE (nRF52840)",
            "m4",
            (_flash(0x0001_0000, 960 * KIB), _ram(0x2000_0000, 256 * KIB)),
            64_000_000,
            flashing=Flashing(
                "pyocd", "nrf52840", 0x52840, 0x1_0000, 0x1000_0100, usb=((0x2341, 0x805A), (0x2341, 0x005A))
            ),
            framework="arduino",
        ),
        Board(
            "esp32c3",
            "ESP32-C3",
            "rv32imc",
            (_flash(0x4200_0000, 4 * MIB), _ram(0x3FC8_0000, 400 * KIB)),
            160_000_000,
            flashing=Flashing("esptool", "esp32c3", 5, 0x1_0000, usb=((0x303A, 0x1001),)),
            framework="esp-idf",
        ),
        Board(
            "microbit",
            "BBC micro:bit (nRF51822)",
            "m0plus",
            (_flash(0x0000_0000, 256 * KIB), _ram(0x2000_0000, 16 * KIB)),
            16_000_000,
            Uart("nrf51", 0x4000_2000, 16_000_000, "P0.24 and P0.25, the debugger's USB port"),
            Flashing("pyocd", "nrf51", usb=((0x0D28, 0x0204),)),
            Qemu("arm", "microbit"),
        ),
        Board(
            "mps2-an385",
            "Arm MPS2 with Cortex-M3 (AN385)",
            "m3",
            (_flash(0x0000_0000, 4 * MIB), _ram(0x2000_0000, 4 * MIB)),
            25_000_000,
            Uart("cmsdk", 0x4000_4000, 25_000_000),
            qemu=Qemu("arm", "mps2-an385"),
        ),
        Board(
            "mps2-an386",
            "Arm MPS2 with Cortex-M4 (AN386)",
            "m4",
            (_flash(0x0000_0000, 4 * MIB), _ram(0x2000_0000, 4 * MIB)),
            25_000_000,
            Uart("cmsdk", 0x4000_4000, 25_000_000),
            qemu=Qemu("arm", "mps2-an386"),
        ),
        Board(
            "mps2-an500",
            "Arm MPS2 with Cortex-M7 (AN500)",
            "m7",
            (_flash(0x0000_0000, 4 * MIB), _ram(0x2000_0000, 4 * MIB)),
            25_000_000,
            Uart("cmsdk", 0x4000_4000, 25_000_000),
            qemu=Qemu("arm", "mps2-an500"),
        ),
        Board(
            "mps2-an505",
            "Arm MPS2 with Cortex-M33 (AN505)",
            "m33",
            (_flash(0x1000_0000, 4 * MIB), _ram(0x3800_0000, 4 * MIB)),
            20_000_000,
            Uart("cmsdk", 0x5020_0000, 20_000_000),
            qemu=Qemu("arm", "mps2-an505"),
        ),
        Board(
            "mps3-an547",
            "Arm MPS3 with Cortex-M55 (AN547)",
            "m55",
            (_flash(0x0000_0000, 512 * KIB), _ram(0x3000_0000, 512 * KIB)),
            32_000_000,
            Uart("cmsdk", 0x5930_3000, 25_000_000),
            qemu=Qemu("arm", "mps3-an547"),
        ),
        Board(
            "qemu-virt-rv32",
            "QEMU virt, RV32",
            "rv32imc",
            (_flash(0x8000_0000, 4 * MIB), _ram(0x8040_0000, 4 * MIB)),
            10_000_000,
            Uart("ns16550", 0x1000_0000, 3_686_400),
            qemu=Qemu("riscv32", "virt", ("-bios", "none", "-m", "16")),
        ),
        Board(
            "qemu-virt-rv32-slots",
            "QEMU virt, RV32, two slots in parallel flash",
            "rv32imc",
            (_flash(0x8010_0000, 768 * KIB), _ram(0x8040_0000, 4 * MIB)),
            10_000_000,
            Uart("ns16550", 0x1000_0000, 3_686_400),
            qemu=Qemu("riscv32", "virt", ("-m", "16")),
            define=("APP_UPDATE",),
            slots=UpdateSlots(
                "flash_cfi",
                0x2200_0000,
                (0x2200_0000, 0x2210_0000),
                1 * MIB,
                256 * KIB,
                (_flash(0x8000_0000, 512 * KIB), _ram(0x8008_0000, 512 * KIB)),
            ),
        ),
    )
}


def _with_slots(board: Board, second: int, size: int) -> Board:
    """An STM32F4 with a boot loader in its first sector and two slots, which begin with the second and at ``second``.

    A slot's header takes 512 bytes, as the vector table of 98 entries behind it has to lie at a multiple of that
    (PM0214, VTOR). The boot loader's RAM is the last of the first region.
    """
    flash, ram, *more = board.regions
    slots = (flash.start + 16 * KIB, second)
    boot = (_flash(flash.start, 16 * KIB), _ram(ram.start + ram.size - 4 * KIB, 4 * KIB))
    return replace(
        board,
        name=f"{board.name}-slots",
        title=f"{board.title}, two slots",
        regions=(_flash(slots[0] + 512, size - 512), ram, *more),
        define=(*board.define, "APP_UPDATE"),
        slots=UpdateSlots("flash_stm32f4", flash.start, slots, size, 512, boot, in_place=True),
    )


BOARDS |= {
    board.name: board
    for board in (
        _with_slots(BOARDS["nucleo-f446re"], 0x0804_0000, 240 * KIB),
        _with_slots(BOARDS["netduinoplus2"], 0x0808_0000, 496 * KIB),
    )
}


def board_named(name: str) -> Board:
    """The board of that name.

    Raises:
        UsageError: There is none; the message lists those there are.
    """
    try:
        return BOARDS[name]
    except KeyError:
        raise UsageError(f"there is no board {name!r}", f"choose from: {', '.join(BOARDS)}") from None


def boards_of_usb(usb: tuple[int, int]) -> list[Board]:
    """The boards whose USB port has these vendor and product ids; debuggers are shared by several."""
    return [board for board in BOARDS.values() if board.flashing is not None and usb in board.flashing.usb]
