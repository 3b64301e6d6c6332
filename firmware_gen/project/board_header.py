"""board_config.h."""

from __future__ import annotations

from multigraft.firmware_gen.boards.board import Board, UpdateSlots


def board_config(board: Board) -> str:
    """board_config.h: the board's entry as constants."""
    assert board.uart is not None
    values = {
        "BOARD_NAME": f'"{board.name}"',
        "CORE_CLOCK_HZ": f"{board.clock_hz}u",
        "UART_BASE": f"0x{board.uart.base:08x}u",
        "UART_CLOCK_HZ": f"{board.uart.clock_hz}u",
        "UART_BAUD": f"{board.uart.baud}u",
        "FLASH_CAPACITY": f"{board.capacity('flash')}u",
        "RAM_CAPACITY": f"{board.capacity('ram')}u",
        **({"PORT_SETUP": "1"} if board.setup else {}),
        **dict.fromkeys(board.define, "1"),
        **({"MORE_RAM_REGIONS(X)": " ".join(f"X({r.name})" for r in board.more_ram())} if board.more_ram() else {}),
        **(_slot_values(board, board.slots) if board.slots else {}),
    }
    lines = [f"#define {name} {value}" for name, value in values.items()]
    return "\n".join(["#ifndef BOARD_CONFIG_H", "#define BOARD_CONFIG_H", *lines, "#endif", ""])


def _slot_values(board: Board, slots: UpdateSlots) -> dict[str, str]:
    return {
        "SLOT_BASE": f"0x{slots.base:08x}u",
        "SLOT_BYTES": f"{slots.size}u",
        "SECTOR_BYTES": f"{slots.sector}u",
        "LOAD_ADDRESS": f"0x{board.region('flash').start:08x}u",
    }
