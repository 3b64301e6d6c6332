"""The Makefile of a project."""

from __future__ import annotations

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.project.compiler_flags import WARNINGS, core_flags
from multigraft.firmware_gen.project.target_sources import boot_sources, target_sources

MLPERF_MODELS = ("ad01", "ic01", "kws01", "vww01")
"""What the MLPerf Tiny runner calls its networks; it chooses data and script by the name the image reports."""

SECOND = "firmware-second"
"""The image for the second slot, on a board whose images run in place."""


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

CORE    := {core_flags(board)}
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

{_image_rules("firmware", "link.ld")}
$(BUILD)/libmodel.a: $(MODEL)
\trm -f $@
\t$(CROSS)ar rcs $@ $^
{boot_rules}
clean:
\trm -rf build

-include $(MODEL:.o=.d) $(TARGET:.o=.d)
"""


def _image_rules(name: str, script: str) -> str:
    return f"""$(OUT)/{name}.elf: $(MODEL) $(TARGET) {script}
\t$(CC) $(CORE) -nostdlib -nostartfiles -static -Wl,--gc-sections -Wl,-Map=$(OUT)/{name}.map -T {script} \\
\t\t$(MODEL) $(TARGET) -lgcc -o $@
\t$(CROSS)size $@

$(OUT)/{name}.bin: $(OUT)/{name}.elf
\t$(CROSS)objcopy -O binary $< $@
"""


def _boot_rules(board: Board) -> tuple[str, str]:
    """What make builds in addition, and how, for a board with slots."""
    assert board.slots is not None
    objects = " ".join(f"$(OUT)/target/{name.removesuffix('.c')}.o" for name in boot_sources(board))
    rules = f"""
build/boot.elf: {objects} link_boot.ld
\t$(CC) $(CORE) -nostdlib -nostartfiles -static -Wl,--gc-sections -T link_boot.ld $(filter %.o,$^) -lgcc -o $@

build/boot.bin: build/boot.elf
\t$(CROSS)objcopy -O binary $< $@
"""
    if not board.slots.in_place:
        return " build/boot.elf", rules
    return f" $(OUT)/{SECOND}.bin build/boot.bin", f"{rules}\n{_image_rules(SECOND, 'link_second.ld')}"


def library_makefile(board: Board) -> str:
    """GNU make for a board without a start-up of ours: ``build/libmodel.a``."""
    core = CORES[board.core]
    include = "" if core.architecture == "arm" else " -isystem freestanding"
    return f"""# {board.title}: build/libmodel.a, to be linked into a project of the board's own framework.
CROSS  ?= {toolchain_of(core).prefix}
CORE   := {core_flags(board)}
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
