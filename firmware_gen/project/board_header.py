"""board_config.h."""

from __future__ import annotations

from multigraft.firmware_gen.boards.board import Board, Uart, UpdateSlots


def board_config(board: Board) -> str:
    """board_config.h: the board's entry as constants."""
    values = {
        "BOARD_NAME": f'"{board.name}"',
        "CORE_CLOCK_HZ": f"{board.clock_hz}u",
        **(_uart_values(board.uart) if board.uart else {}),
        "FLASH_CAPACITY": f"{board.capacity('flash')}u",
        "RAM_CAPACITY": f"{board.capacity('ram')}u",
        **({"PORT_SETUP": "1"} if board.setup else {}),
        **dict.fromkeys(board.define, "1"),
        **({"MORE_RAM_REGIONS(X)": _regions(board)} if board.uart and board.more_ram() else {}),
        **(_slot_values(board, board.slots) if board.slots else {}),
    }
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return "\n".join(["#ifndef BOARD_CONFIG_H", "#define BOARD_CONFIG_H", *lines, "#endif", ""])


def _regions(board: Board) -> str:
    return " ".join(f"X({region.name})" for region in board.more_ram())


def _uart_values(uart: Uart) -> dict[str, str]:
    return {"UART_BASE": f"0x{uart.base:08x}u", "UART_CLOCK_HZ": f"{uart.clock_hz}u", "UART_BAUD": f"{uart.baud}u"}


def _slot_values(board: Board, slots: UpdateSlots) -> dict[str, str]:
    starts = ", ".join(f"0x{start - slots.base:08x}u" for start in slots.starts)
    place = {"SLOTS_IN_PLACE": "1"} if slots.in_place else {"LOAD_ADDRESS": f"0x{board.region('flash').start:08x}u"}
    return {
        "SLOT_BASE": f"0x{slots.base:08x}u",
        "SLOT_STARTS": f"{{{starts}}}",
        "SLOT_BYTES": f"{slots.size}u",
        "SLOT_HEADER_BYTES": f"{slots.header}u",
        **place,
    }
