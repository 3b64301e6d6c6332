"""Files that make a firmware project build: linker script, Makefile, CMakeLists.txt, board header, target sources."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

from multigraft import serial_protocol
from multigraft.firmware_gen.boards.boards import Board, Region, Slots
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.memory.regions import Space
from multigraft.firmware_gen.project.app_files import AppModel, app_config, app_model
from multigraft.firmware_gen.project.glue_files import glue_files

WARNINGS = "-Wall -Wextra -Werror -Wconversion -Wno-sign-conversion"
STACK_BYTES = 1536
"""Least stack; an image that leaves less is refused by the linker. Measured peak of our own code is below 1 KiB."""

APP_BYTES = 1024
"""Static RAM of our serial applications without the staged inputs; the largest takes 0.7 KiB."""

SHARED_SOURCES = ("app.c", "frames.c", "memory.c", "start_common.c")
HEADERS = ("app.h", "frames.h", "port.h", "start.h")
BOOT_BYTES = 1024 * 1024
BOOT_SOURCES = ("boot.c", "slots.c", "frames.c", "memory.c", "start_common.c")
PROTOCOLS = ("frames", "mlperf", "bench")
MLPERF_MODELS = ("ad01", "ic01", "kws01", "vww01")
"""What the MLPerf Tiny runner calls its networks; it chooses data and script by the name the image reports."""


def target_sources(board: Board) -> tuple[str, ...]:
    """Names of the C files of ours that an image for ``board`` is built of, without the serial application."""
    assert board.uart is not None
    start = f"start_{CORES[board.core].architecture}.c"
    setup = (f"{board.setup}.c",) if board.setup else ()
    slots = ("update.c", "slots.c", f"{board.slots.driver}.c") if board.slots else ()
    return (*SHARED_SOURCES, start, f"uart_{board.uart.driver}.c", *setup, *slots)


def boot_board(board: Board) -> Board:
    """Where the boot loader of a board with slots lies: in front of the image it runs, its RAM in between."""
    flash = board.region("flash")
    boot = Region("FLASH", "flash", flash.start - BOOT_BYTES, BOOT_BYTES // 2)
    ram = Region("RAM", "ram", flash.start - BOOT_BYTES // 2, BOOT_BYTES // 2)
    return replace(board, title=f"{board.title}: boot loader", regions=(boot, ram))


def project_files(board: Board, model: AppModel) -> dict[str, str]:
    """All files of a project but the model's own, by path; the model's C files belong into ``src``.

    A board that has no start-up of ours gets what builds ``libmodel.a``.
    """
    if board.uart is None:
        files = {"Makefile": _library_makefile(board), **glue_files(board, model)}
        if CORES[board.core].architecture == "riscv":
            files["freestanding/string.h"] = _target("freestanding/string.h")
        return files
    names = [*target_sources(board), *(f"app_{protocol}.c" for protocol in PROTOCOLS), *HEADERS]
    files = {f"target/{name}": _target(name) for name in names}
    if CORES[board.core].architecture == "riscv":
        files["target/freestanding/string.h"] = _target("freestanding/string.h")
    files["target/protocol.h"] = serial_protocol.c_header()
    files["target/board_config.h"] = board_config(board)
    files["target/app_config.h"] = app_config(model)
    files["target/app_model.c"] = app_model(model)
    files["link.ld"] = linker_script(board)
    if board.slots is not None:
        files |= {f"target/{name}": _target(name) for name in ("boot.c", "slots.h", "update.h")}
        files["link_boot.ld"] = linker_script(boot_board(board))
    files["Makefile"] = makefile(board)
    files["CMakeLists.txt"] = cmakelists(board)
    return files


def _target(name: str) -> str:
    return (resources.files("multigraft.firmware_gen.project") / "target" / name).read_text("utf-8")


def region_section(region: Region) -> str:
    """The section that puts a variable into a further RAM region: named so that compilers keep it out of the image."""
    return f".bss.region_{region.name}"


def spaces_of(board: Board, input_bytes: int) -> tuple[Space, ...]:
    """Where a model's arena may lie: what our own code leaves of the first RAM region, and the other regions.

    Args:
        input_bytes: Of all inputs of the model, which our applications hold once more.
    """
    ram = board.region("ram")
    if board.uart is None:
        further = tuple(Space(r.name, r.size, r.dma, r.section) for r in board.more_ram() if r.section)
        return (Space(ram.name, ram.size), *further)
    left = ram.size - STACK_BYTES - APP_BYTES - input_bytes
    return (Space(ram.name, left), *(Space(r.name, r.size, r.dma, region_section(r)) for r in board.more_ram()))


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


def _slot_values(board: Board, slots: Slots) -> dict[str, str]:
    return {
        "SLOT_BASE": f"0x{slots.base:08x}u",
        "SLOT_BYTES": f"{slots.size}u",
        "SECTOR_BYTES": f"{slots.sector}u",
        "LOAD_ADDRESS": f"0x{board.region('flash').start:08x}u",
    }


def linker_script(board: Board) -> str:
    """The memory of the board: code and constants in flash; what survives a reset, data, zeros and stack in RAM.

    Additional RAM regions take sections named ``.bss.region_NAME``, which are neither loaded nor zeroed.
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
    __flash_end = __data_load + SIZEOF(.data);
{more}    .bss (NOLOAD) : ALIGN(16)
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


def _flags(board: Board) -> str:
    core = CORES[board.core]
    hosted = "" if core.architecture == "arm" else " -ffreestanding -fbuiltin"
    return " ".join((*core.gcc_flags, *toolchain_of(core).flags)) + hosted


def makefile(board: Board) -> str:
    """GNU make: ``build/<protocol>/firmware.elf`` and ``.bin``, and ``$(BUILD)/libmodel.a``."""
    core = CORES[board.core]
    include = "-Isrc -Itarget" + ("" if core.architecture == "arm" else " -isystem target/freestanding")
    sources = " ".join(f"target/{name}" for name in (*target_sources(board), "app_model.c"))
    networks = f"{', '.join(MLPERF_MODELS[:-1])} or {MLPERF_MODELS[-1]}"
    boot_all, boot_rules = _boot_rules(board) if board.slots else ("", "")
    return f"""# {board.title}. make builds the image that multigraft monitor talks to; make MLPERF_MODEL=NAME the one
# for the MLPerf Tiny runner, NAME being {networks}; make library builds libmodel.a;
# PROFILE=1 measures every step of the model.
CROSS    ?= {toolchain_of(core).prefix}
CC       := $(CROSS)gcc
PROTOCOL ?= $(if $(MLPERF_MODEL),mlperf,frames)
OPT      ?= -O2
ifneq ($(filter-out {" ".join(MLPERF_MODELS)},$(MLPERF_MODEL)),)
$(error MLPERF_MODEL is {networks}, not $(MLPERF_MODEL))
endif

CORE    := {_flags(board)}
CFLAGS  := -std=c11 $(OPT) -g -ffunction-sections -fdata-sections -fno-common {WARNINGS} \\
\t$(if $(PROFILE),-DMODEL_PROFILE,-DMODEL_STEP_LABELS)
INCLUDE := {include}
DEFINES := $(if $(MLPERF_MODEL),-DAPP_MLPERF_NAME='"$(MLPERF_MODEL)"' -DAPP_MLPERF_$(MLPERF_MODEL))
BUILD   := build$(if $(PROFILE),/profile)
OUT     := $(BUILD)/$(PROTOCOL)$(if $(MLPERF_MODEL),-$(MLPERF_MODEL))

MODEL   := $(patsubst %.c,$(BUILD)/model/%.o,$(wildcard src/*.c))
TARGET  := $(patsubst %.c,$(OUT)/%.o,{sources} target/app_$(PROTOCOL).c)

.DELETE_ON_ERROR:
.PHONY: all library clean
all: $(OUT)/firmware.bin{boot_all}
library: $(BUILD)/libmodel.a

$(BUILD)/model/%.o: %.c
\t@mkdir -p $(@D)
\t$(CC) $(CORE) $(CFLAGS) $(INCLUDE) -MMD -MP -c $< -o $@

$(OUT)/%.o: %.c
\t@mkdir -p $(@D)
\t$(CC) $(CORE) $(CFLAGS) $(INCLUDE) $(DEFINES) -MMD -MP -c $< -o $@

# A loop that copies must not become a call of the function it is in.
$(OUT)/target/memory.o: CFLAGS += -fno-builtin -fno-tree-loop-distribute-patterns

$(OUT)/firmware.elf: $(MODEL) $(TARGET) link.ld
\t$(CC) $(CORE) -nostdlib -nostartfiles -static -Wl,--gc-sections -Wl,-Map=$(OUT)/firmware.map -T link.ld \\
\t\t$(MODEL) $(TARGET) -lgcc -o $@
\t$(CROSS)size $@

$(OUT)/firmware.bin: $(OUT)/firmware.elf
\t$(CROSS)objcopy -O binary $< $@

$(BUILD)/libmodel.a: $(MODEL)
\trm -f $@
\t$(CROSS)ar rcs $@ $^
{boot_rules}
clean:
\trm -rf build

-include $(MODEL:.o=.d) $(TARGET:.o=.d)
"""


def _boot_rules(board: Board) -> tuple[str, str]:
    """What make builds in addition, and how, for a board with slots."""
    assert board.uart is not None and board.slots is not None
    start = f"start_{CORES[board.core].architecture}.c"
    names = (*BOOT_SOURCES, start, f"uart_{board.uart.driver}.c", f"{board.slots.driver}.c")
    objects = " ".join(f"$(OUT)/target/{name.removesuffix('.c')}.o" for name in names)
    rules = f"""
build/boot.elf: {objects} link_boot.ld
\t$(CC) $(CORE) -nostdlib -nostartfiles -static -Wl,--gc-sections -T link_boot.ld $(filter %.o,$^) -lgcc -o $@
"""
    return " build/boot.elf", rules


def cmakelists(board: Board) -> str:
    """The same for CMake; configure with the toolchain it names."""
    core = CORES[board.core]
    sources = " ".join(f"target/{name}" for name in (*target_sources(board), "app_model.c"))
    include = "src target" + ("" if core.architecture == "arm" else " target/freestanding")
    return f"""# {board.title}: cmake -B build-cmake && cmake --build build-cmake
cmake_minimum_required(VERSION 3.20)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_COMPILER {toolchain_of(core).prefix}gcc)
project(firmware C)
set(PROTOCOL frames CACHE STRING "frames, mlperf or bench")
set(MLPERF_MODEL "" CACHE STRING "for mlperf: {", ".join(MLPERF_MODELS[:-1])} or {MLPERF_MODELS[-1]}")
set(CORE {_flags(board)})
file(GLOB MODEL src/*.c)
add_library(model STATIC ${{MODEL}})
target_include_directories(model PUBLIC {include})
target_compile_options(model PUBLIC ${{CORE}} -std=c11 -O2 -g -ffunction-sections -fdata-sections -fno-common
    {WARNINGS})
add_executable(firmware.elf {sources} target/app_${{PROTOCOL}}.c)
if(MLPERF_MODEL)
    target_compile_definitions(firmware.elf PRIVATE APP_MLPERF_NAME="${{MLPERF_MODEL}}" APP_MLPERF_${{MLPERF_MODEL}})
endif()
set_source_files_properties(target/memory.c PROPERTIES
    COMPILE_OPTIONS "-fno-builtin;-fno-tree-loop-distribute-patterns")
target_link_options(firmware.elf PRIVATE ${{CORE}} -nostdlib -nostartfiles -static -Wl,--gc-sections
    -T ${{CMAKE_SOURCE_DIR}}/link.ld)
set_target_properties(firmware.elf PROPERTIES LINK_DEPENDS ${{CMAKE_SOURCE_DIR}}/link.ld)
target_link_libraries(firmware.elf PRIVATE model gcc)
"""


def _library_makefile(board: Board) -> str:
    core = CORES[board.core]
    include = "" if core.architecture == "arm" else " -isystem freestanding"
    return f"""# {board.title}: build/libmodel.a, to be linked into a project of the board's own framework.
CROSS  ?= {toolchain_of(core).prefix}
CORE   := {_flags(board)}
CFLAGS := -std=c11 -O2 -ffunction-sections -fdata-sections -fno-common {WARNINGS}
MODEL  := $(patsubst %.c,build/model/%.o,$(wildcard src/*.c))

.PHONY: library clean
library: build/libmodel.a

build/model/%.o: %.c
\t@mkdir -p $(@D)
\t$(CROSS)gcc $(CORE) $(CFLAGS) -Isrc{include} -MMD -MP -c $< -o $@

build/libmodel.a: $(MODEL)
\trm -f $@
\t$(CROSS)ar rcs $@ $^

clean:
\trm -rf build

-include $(MODEL:.o=.d)
"""
