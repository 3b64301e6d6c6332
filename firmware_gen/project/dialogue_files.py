"""The serial dialogue for boards with a framework: ours beside the library, and an example per framework for it.

A board that runs the example answers ``multigraft firmware verify`` and ``multigraft monitor``.
"""

from __future__ import annotations

import string

from multigraft import serial_protocol
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.project.app_files import AppModel, app_config, app_model
from multigraft.firmware_gen.project.board_header import board_config
from multigraft.firmware_gen.project.parts import parts_header
from multigraft.firmware_gen.project.target_sources import target_text

FOLDER = "src/dialogue"
_SOURCES = ("app.c", "app_frames.c", "frames.c", "port_library.c")
_HEADERS = ("app.h", "frames.h", "port.h")


class Template(string.Template):
    """Fixed text with @{places}, as CMake's own are ${places}."""

    delimiter = "@"


def dialogue_files(board: Board, model: AppModel) -> dict[str, str]:
    """Path to text, for a board that has no start-up of ours. Zephyr runs on all of these."""
    files = {f"{FOLDER}/{name}": target_text(name) for name in (*_SOURCES, *_HEADERS)}
    files[f"{FOLDER}/protocol.h"] = serial_protocol.c_header()
    files[f"{FOLDER}/board_config.h"] = board_config(board)
    files[f"{FOLDER}/app_config.h"] = app_config(model)
    files[f"{FOLDER}/app_model.c"] = app_model(model)
    if model.parts:
        files[f"{FOLDER}/model.h"] = parts_header(model.parts)
    files["examples/zephyr-dialogue/CMakeLists.txt"] = _ZEPHYR
    symbol = f"MULTIGRAFT_{model.prefix.upper()}"
    files["examples/zephyr-dialogue/prj.conf"] = Template(_ZEPHYR_SETTINGS).substitute(symbol=symbol)
    files["examples/zephyr-dialogue/main.c"] = target_text("dialogue_zephyr.c")
    if board.framework == "arduino":
        headers = "".join(f"#include <{part.prefix}.h>\n" for part in model.parts) or "#include <model.h>\n"
        sketch = Template(target_text("dialogue_arduino.ino")).substitute(headers=headers)
        files["examples/Dialogue/Dialogue.ino"] = sketch
    if board.framework == "esp-idf":
        files["examples/esp-idf-dialogue/CMakeLists.txt"] = _ESP
        files["examples/esp-idf-dialogue/sdkconfig.defaults"] = _ESP_SETTINGS
        files["examples/esp-idf-dialogue/main/CMakeLists.txt"] = _ESP_MAIN
        files["examples/esp-idf-dialogue/main/main.c"] = target_text("dialogue_esp.c")
    if board.framework == "pico-sdk":
        made = Template(_PICO).substitute(board=board.name, target=model.prefix)
        files["examples/pico-sdk-dialogue/CMakeLists.txt"] = made
        files["examples/pico-sdk-dialogue/main.c"] = target_text("dialogue_pico.c")
    if board.framework == "stm32cube":
        files["examples/stm32cube-dialogue/dialogue.c"] = target_text("dialogue_stm32cube.c")
    return files


def how_to_talk(board: Board) -> str:
    """The README's lines on the example that answers over a serial port."""
    lines = {
        "arduino": "Arduino: File > Examples > it > Dialogue.\n",
        "esp-idf": "ESP-IDF: `idf.py -C examples/esp-idf-dialogue build flash`; over the chip's own USB port.\n",
        "pico-sdk": "Pico SDK: `cmake -S examples/pico-sdk-dialogue -B build-dialogue`; it speaks over USB.\n",
        "stm32cube": "STM32Cube: add `src/dialogue/*.c` and `examples/stm32cube-dialogue/dialogue.c` to the project.\n",
    }
    return (
        "The examples named dialogue answer over a serial port:\n\n"
        "    multigraft firmware verify . --port PORT\n"
        "    multigraft monitor --port PORT\n\n" + (lines[board.framework] if board.framework else "")
    )


_ZEPHYR = """cmake_minimum_required(VERSION 3.20.0)
get_filename_component(MODEL ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
list(APPEND ZEPHYR_EXTRA_MODULES ${MODEL})
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(dialogue)
file(GLOB DIALOGUE ${MODEL}/src/dialogue/*.c)
target_sources(app PRIVATE main.c ${DIALOGUE})
target_include_directories(app PRIVATE ${MODEL}/src/dialogue)
"""

_ZEPHYR_SETTINGS = """CONFIG_@{symbol}=y
CONFIG_MAIN_STACK_SIZE=4096
CONFIG_SERIAL=y
CONFIG_REBOOT=y
# Nothing else may be heard on the port.
CONFIG_CONSOLE=n
CONFIG_UART_CONSOLE=n
CONFIG_PRINTK=n
CONFIG_BOOT_BANNER=n
"""

_ESP = """cmake_minimum_required(VERSION 3.16)
get_filename_component(MODEL ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
set(EXTRA_COMPONENT_DIRS ${MODEL})
include($ENV{IDF_PATH}/tools/cmake/project.cmake)
project(dialogue)
"""

_ESP_MAIN = """get_filename_component(DIALOGUE ${CMAKE_CURRENT_LIST_DIR}/../../../src/dialogue ABSOLUTE)
file(GLOB SOURCES ${DIALOGUE}/*.c)
idf_component_register(SRCS main.c ${SOURCES} INCLUDE_DIRS ${DIALOGUE})
"""

_ESP_SETTINGS = """# Nothing else may be heard on the USB port.
CONFIG_ESP_CONSOLE_UART_DEFAULT=y
CONFIG_ESP_CONSOLE_SECONDARY_NONE=y
# A network may run for longer than the watchdog waits.
CONFIG_ESP_TASK_WDT_INIT=n
CONFIG_ESP_MAIN_TASK_STACK_SIZE=8192
"""

_PICO = """cmake_minimum_required(VERSION 3.20)
set(PICO_BOARD @{board} CACHE STRING "Board of the Pico SDK")
include($ENV{PICO_SDK_PATH}/external/pico_sdk_import.cmake)
project(dialogue C CXX ASM)
pico_sdk_init()
add_subdirectory(../.. @{target})
file(GLOB DIALOGUE ${CMAKE_CURRENT_LIST_DIR}/../../src/dialogue/*.c)
add_executable(dialogue main.c ${DIALOGUE})
target_include_directories(dialogue PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../../src/dialogue)
target_link_libraries(dialogue @{target} pico_stdlib hardware_watchdog)
pico_enable_stdio_usb(dialogue 1)
pico_enable_stdio_uart(dialogue 0)
pico_add_extra_outputs(dialogue)
"""
