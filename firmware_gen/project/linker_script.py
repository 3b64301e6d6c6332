"""The linker script of a board with a start-up of ours, and of its boot loader."""

from __future__ import annotations

from dataclasses import replace

from multigraft.firmware_gen.boards.board import Board, Region
from multigraft.firmware_gen.boards.cores import CORES

STACK_BYTES = 1536
"""Least stack; an image that leaves less is refused by the linker. Measured peak of our own code is below 1 KiB."""


def boot_board(board: Board) -> Board:
    """Where the boot loader of a board with slots lies. Its RAM is not where an image keeps what outlives a reset."""
    assert board.slots is not None
    return replace(board, title=f"{board.title}: boot loader", regions=board.slots.boot, slots=None)


def second_slot_board(board: Board) -> Board:
    """Where an image for the second slot lies, on a board whose images run in place."""
    assert board.slots is not None
    first = board.region("flash")
    second = replace(first, start=first.start + board.slots.starts[1] - board.slots.starts[0])
    regions = tuple(second if region == first else region for region in board.regions)
    return replace(board, title=f"{board.title}: second slot", regions=regions)


def region_section(region: Region) -> str:
    """The section that puts a variable into a further RAM region: named so that compilers keep it out of the image."""
    return f".bss.region_{region.name}"


def linker_script(board: Board) -> str:
    """The memory of the board: code and constants in flash; what survives a reset, data, zeros and stack in RAM.

    Additional RAM regions take sections named ``.bss.region_NAME``, which are neither loaded nor zeroed. What an image
    for a board with slots says of itself is the last of it.
    """
    flash, ram = board.region("flash"), board.region("ram")
    memory = "\n".join(
        f"    {r.name} ({'rx' if r.kind == 'flash' else 'rwx'}) : ORIGIN = 0x{r.start:08x}, LENGTH = {r.size}"
        for r in board.regions
    )
    more = "\n".join(
        f"    .region_{r.name} (NOLOAD) : ALIGN(16)\n    {{\n        __region_{r.name}_start = .;\n"
        f"        *({region_section(r)})\n        __region_{r.name}_end = .;\n    }} > {r.name}\n"
        for r in board.more_ram()
    )
    info = f"""    .image_info : ALIGN(4)
    {{
        KEEP(*(.image_info))
        __flash_end = .;
    }} > {flash.name}
"""
    end = info if board.slots else "    __flash_end = __data_load + SIZEOF(.data);\n"
    entry = "reset_handler" if CORES[board.core].architecture == "arm" else "start"
    return f"""/* {board.title} */
ENTRY({entry})
MEMORY
{{
{memory}
}}
SECTIONS
{{
    .text : ALIGN(8)
    {{
        __flash_start = .;
        KEEP(*(.vectors))
        *(.text .text.*)
        . = ALIGN(8);
    }} > {flash.name}
    .rodata : ALIGN(8)
    {{
        *(.rodata .rodata.* .srodata .srodata.*)
        . = ALIGN(8);
    }} > {flash.name}
    .noinit (NOLOAD) : ALIGN(8)
    {{
        __ram_start = .;
        *(.noinit)
    }} > {ram.name}
    .data : ALIGN(8)
    {{
        __data_start = .;
        *(.data .data.* .sdata .sdata.*)
        . = ALIGN(8);
        __data_end = .;
    }} > {ram.name} AT> {flash.name}
    __data_load = LOADADDR(.data);
{end}{more}    .bss (NOLOAD) : ALIGN(16)
    {{
        __bss_start = .;
        *(.bss .bss.* .sbss .sbss.* COMMON)
        . = ALIGN(8);
        __bss_end = .;
    }} > {ram.name}
    __ram_end = __bss_end;
    __stack_limit = __bss_end;
    __stack_top = ORIGIN({ram.name}) + LENGTH({ram.name});
    ASSERT(__stack_top - __stack_limit >= {STACK_BYTES}, "less than {STACK_BYTES} bytes of RAM are left for the stack")
    /DISCARD/ : {{ *(.ARM.exidx* .ARM.extab* .eh_frame* .note* .comment .init_array .fini_array) }}
}}
"""
