"""All files of a firmware project but the model's own."""

from __future__ import annotations

from multigraft import serial_protocol
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.project.app_files import AppModel, app_config, app_model
from multigraft.firmware_gen.project.board_header import board_config
from multigraft.firmware_gen.project.cmake_file import cmake_presets, cmakelists
from multigraft.firmware_gen.project.glue_files import glue_files
from multigraft.firmware_gen.project.linker_script import boot_board, linker_script, second_slot_board
from multigraft.firmware_gen.project.makefiles import library_makefile, makefile
from multigraft.firmware_gen.project.parts import parts_header
from multigraft.firmware_gen.project.target_sources import HEADERS, PROTOCOLS, target_sources, target_text


def project_files(board: Board, model: AppModel) -> dict[str, str]:
    """All files of a project but the model's own, by path; the model's C files belong into ``src``.

    A board that has no start-up of ours gets what builds ``libmodel.a``.
    """
    if board.uart is None:
        files = {"Makefile": library_makefile(board), **glue_files(board, model)}
        if CORES[board.core].architecture == "riscv":
            files["freestanding/string.h"] = target_text("freestanding/string.h")
        return files
    names = [*target_sources(board), *(f"app_{protocol}.c" for protocol in PROTOCOLS), *HEADERS]
    files = {f"target/{name}": target_text(name) for name in names}
    if CORES[board.core].architecture == "riscv":
        files["target/freestanding/string.h"] = target_text("freestanding/string.h")
    files["target/protocol.h"] = serial_protocol.c_header()
    files["target/board_config.h"] = board_config(board)
    files["target/app_config.h"] = app_config(model)
    files["target/app_model.c"] = app_model(model)
    if model.parts:
        files["target/model.h"] = parts_header(model.parts)
    files["link.ld"] = linker_script(board)
    if board.slots is not None:
        files |= {f"target/{name}": target_text(name) for name in ("boot.c", "slots.h", "update.h")}
        files["link_boot.ld"] = linker_script(boot_board(board))
        if board.slots.in_place:
            files["link_second.ld"] = linker_script(second_slot_board(board))
    files["Makefile"] = makefile(board)
    files["CMakeLists.txt"] = cmakelists(board)
    files["CMakePresets.json"] = cmake_presets()
    return files
