"""``multigraft devices``: the serial ports of this machine, and the boards there are."""

from __future__ import annotations

import argparse

from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["list", "boards"], help="list: ports and what is on them; boards: the table")


def execute(options: argparse.Namespace) -> int:
    rows = _ports() if options.what == "list" else _boards()
    if options.json:
        print(json_text(rows))
    elif not rows:
        print("no serial port; plug a board in")
    else:
        texts = [["-" if value in (None, "") else str(value) for value in row.values()] for row in rows]
        title = "serial ports of this machine" if options.what == "list" else "boards firmware is generated for"
        print_table(title, [name.replace("_", " ") for name in rows[0]], texts)
    return 0


def _ports() -> list[dict[str, object]]:
    from multigraft.devices.target.serial_link import serial_ports
    from multigraft.firmware_gen.boards.boards import boards_of_usb

    return [
        {
            "port": port.device,
            "usb": f"{port.usb[0]:04x}:{port.usb[1]:04x}" if port.usb else None,
            "boards": " or ".join(board.name for board in boards_of_usb(port.usb)) if port.usb else None,
            "description": port.description,
        }
        for port in serial_ports()
    ]


def _boards() -> list[dict[str, object]]:
    from multigraft.firmware_gen.boards.boards import BOARDS
    from multigraft.firmware_gen.boards.cores import CORES

    return [
        {
            "board": board.name,
            "title": board.title,
            "core": CORES[board.core].name,
            "flash_bytes": board.capacity("flash"),
            "ram_bytes": board.capacity("ram"),
            "gets": "image" if board.uart else f"library for {board.framework}",
            "flashed_by": board.flashing.method if board.flashing else None,
            "emulated": f"QEMU {board.qemu.machine}" if board.qemu else None,
        }
        for board in BOARDS.values()
    ]
