"""The CMakeLists.txt of a project with a start-up of ours, and its presets."""

from __future__ import annotations

import json

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.toolchain import toolchain_of
from multigraft.firmware_gen.project.compiler_flags import WARNINGS, core_flags
from multigraft.firmware_gen.project.makefiles import MLPERF_MODELS
from multigraft.firmware_gen.project.target_sources import target_sources


def cmake_presets() -> str:
    """CMakePresets.json: ``cmake --preset NAME`` and ``cmake --build --preset NAME`` for each serial application."""
    mlperf = {f"mlperf-{model}": {"PROTOCOL": "mlperf", "MLPERF_MODEL": model} for model in MLPERF_MODELS}
    chosen = {"frames": {"PROTOCOL": "frames"}, **mlperf, "bench": {"PROTOCOL": "bench"}}
    configured = [
        {"name": name, "binaryDir": f"${{sourceDir}}/build-cmake/{name}", "cacheVariables": variables}
        for name, variables in chosen.items()
    ]
    built = [{"name": name, "configurePreset": name} for name in chosen]
    needed = {"major": 3, "minor": 21, "patch": 0}
    presets = {
        "version": 3, "cmakeMinimumRequired": needed, "configurePresets": configured, "buildPresets": built,
    }  # fmt: skip
    return json.dumps(presets, indent=2) + "\n"


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
set(CORE {core_flags(board)})
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
