"""Projects of boards without a start-up of ours: as a library of their frameworks, as far as that shows without these.

The frameworks themselves are not here. Their CMake functions and the few functions the examples call are played; what
is compiled are our files, by the compilers of the boards.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft import serial_protocol as protocol
from multigraft.cli.main import main
from multigraft.errors import InputError
from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.inspection.instruction_check import check_instructions
from multigraft.firmware_gen.project.app_files import AppModel, AppTensor
from multigraft.firmware_gen.project.glue_files import glue_files, how_to
from multigraft.firmware_gen.project.project import ProjectExit
from multigraft.tflite import tflite_file
from tests.bundle_builder import build
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import WARNINGS, reference

LIBRARIES = {board.framework: board for board in BOARDS.values() if board.uart is None}
EXAMPLE_OF = {"pico-sdk": "pico-sdk/main.c", "esp-idf": "esp-idf/main/main.c", "arduino": "Answer/Answer.ino"}
ARDUINO = """
#include <stdint.h>
#include <string.h>
struct Printer { void begin(long); void print(const char *); void println(unsigned long); };
extern Printer Serial;
unsigned long micros();
void delay(unsigned long);
"""
TOOLCHAIN = """
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
"""
ZEPHYR = """
function(zephyr_library_named name)
  add_library(${name} STATIC)
  set(current ${name} PARENT_SCOPE)
endfunction()
macro(zephyr_library_sources)
  target_sources(${current} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${current} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
set(CONFIG_MULTIGRAFT_MODEL y)
add_subdirectory(FOLDER/zephyr zephyr)
"""
ESP = """
set(ESP_PLATFORM 1)
set(COMPONENT_LIB component)
macro(idf_component_register)
  cmake_parse_arguments(IDF "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(component STATIC ${IDF_SRCS})
  target_include_directories(component PUBLIC ${IDF_INCLUDE_DIRS})
endmacro()
add_subdirectory(FOLDER component)
"""

pytestmark = [needs_tools, pytest.mark.skipif(shutil.which("cmake") is None, reason="firmware tools: install cmake")]


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of two tasks as a project per framework."""
    pytest.importorskip("tflite_runtime.interpreter", reason="hardware: no tflite-runtime for this Python")
    folder = tmp_path_factory.mktemp("glue")
    bundle = build(backend="tflite-runtime").bundle.write(folder / "home.graft")
    for name, board in LIBRARIES.items():
        assert main(["firmware", str(bundle), "--board", board.name, "-o", str(folder / str(name))]) == 0
    return {str(name): folder / str(name) for name in LIBRARIES}


def test_every_framework_is_there() -> None:
    assert set(LIBRARIES) == {"arduino", "pico-sdk", "esp-idf", "stm32cube"}


@pytest.mark.parametrize("framework", sorted(map(str, LIBRARIES)))
def test_the_library_builds_for_its_core(framework: str, projects: dict[str, Path]) -> None:
    folder, board = projects[framework], LIBRARIES[framework]  # type: ignore[index]
    run("make", "library", folder=folder)
    assert check_instructions(CORES[board.core], folder / "build/model/src/model.o") == []
    assert "ZEPHYR_EXTRA_MODULES" in (folder / "README.md").read_text()


def test_the_example_prints_the_answers(projects: dict[str, Path], tmp_path: Path) -> None:
    """Zephyr's example is plain C and runs here; what it prints is what the interpreter says."""
    folder = projects["esp-idf"]
    sources = (str(folder / "examples/zephyr/main.c"), str(folder / "src/model.c"))
    run("gcc", *WARNINGS, f"-I{folder}/src", *sources, "-o", "answer", folder=tmp_path)
    printed = dict(line.split(": ") for line in run(str(tmp_path / "answer"), folder=tmp_path).splitlines())
    assert list(printed) == ["garment", "digit"]
    built = build(backend="tflite-runtime")
    graph = tflite_file.read(built.uncut).main
    given = graph.tensors[graph.inputs[0]]
    assert given.quant is not None
    zeros = np.full((1, *given.shape), given.quant.zero_points[0], np.int8)
    for task, place in printed.items():
        (wanted,) = reference(built.separate[task], [zeros])
        assert int(place) == int(np.argmax(wanted))


@pytest.mark.parametrize("framework", sorted(EXAMPLE_OF))
def test_the_other_examples_compile(framework: str, projects: dict[str, Path], tmp_path: Path) -> None:
    folder = projects[framework]
    example = folder / "examples" / EXAMPLE_OF[framework]
    if framework == "arduino":
        (tmp_path / "Arduino.h").write_text(ARDUINO)
        # The IDE puts this include in front, and compiles sketches as C++.
        text = '#include "Arduino.h"\n' + example.read_text()
        (tmp_path / "sketch.cpp").write_text(text)
        flags = (*CORES["m4"].gcc_flags, "-fno-exceptions", "-Wall", "-Wextra", "-Werror")
        run("arm-none-eabi-g++", *flags, f"-I{folder}/src", "-I.", "-c", "sketch.cpp", folder=tmp_path)
        run("arm-none-eabi-gcc", *CORES["m4"].gcc_flags, "-Os", "-c", str(folder / "src/model.c"), folder=tmp_path)
        wanted = run("arm-none-eabi-nm", "-u", "sketch.o", folder=tmp_path).split()
        has = run("arm-none-eabi-nm", "--defined-only", "model.o", folder=tmp_path).split()
        # C++ calls C: the names fit.
        assert {"model_run", "model_inputs", "model_outputs", "model_tasks"} <= set(wanted) & set(has)
        return
    (tmp_path / "pico").mkdir()
    (tmp_path / "pico/stdlib.h").write_text("void stdio_init_all(void);\nvoid sleep_ms(unsigned);\n")
    run("gcc", *WARNINGS, f"-I{folder}/src", "-I.", "-c", str(example), "-o", "example.o", folder=tmp_path)


def test_an_arduino_library_has_the_properties_the_ide_wants(projects: dict[str, Path]) -> None:
    lines = (projects["arduino"] / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "url", "architectures"} <= set(
        properties
    )
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
    assert properties["category"] == "Data Processing"
    assert properties["url"].startswith("https://")
    assert "garment, digit" in properties["paragraph"]


@pytest.mark.parametrize(
    ("framework", "played", "library"),
    [
        ("pico-sdk", "add_subdirectory(FOLDER model)", "model/libmodel.a"),
        ("stm32cube", ZEPHYR, "zephyr/libmultigraft_model.a"),
        ("arduino", ZEPHYR, "zephyr/libmultigraft_model.a"),
        ("esp-idf", ESP, "component/libcomponent.a"),
    ],
)
def test_cmake_builds_the_library_as_the_framework_would(
    framework: str, played: str, library: str, projects: dict[str, Path], tmp_path: Path
) -> None:
    text = "cmake_minimum_required(VERSION 3.20)\nproject(test C)\n" + played.replace(
        "FOLDER", str(projects[framework])
    )
    (tmp_path / "CMakeLists.txt").write_text(text)
    (tmp_path / "arm.cmake").write_text(TOOLCHAIN)
    run("cmake", "-S", ".", "-B", "out", "-DCMAKE_TOOLCHAIN_FILE=arm.cmake", folder=tmp_path)
    run("cmake", "--build", "out", folder=tmp_path)
    assert "model_run" in run("arm-none-eabi-nm", f"out/{library}", folder=tmp_path)


def test_pico_examples_name_their_board() -> None:
    model = app_model("float32")
    for name in ("pico", "pico2"):
        text = glue_files(BOARDS[name], model)["examples/pico-sdk/CMakeLists.txt"]
        assert f"set(PICO_BOARD {name} CACHE" in text


def test_zephyr_is_told_the_board() -> None:
    for board in LIBRARIES.values():
        assert "west build -b BOARD" not in how_to(board)


def app_model(dtype: str) -> AppModel:
    frame = AppTensor("frame", "int8", (1, 4), 0.5, -3)
    scale = 0.0 if dtype == "float32" else 1 / 256
    return AppModel("tiny", "ab" * 32, (frame,), (AppTensor("answer", dtype, (1, 4), scale, 0),), {"main": (0,)})


@pytest.mark.parametrize(("dtype", "values"), [("float32", "{-3, 1.5f, 7.25f, 2}"), ("uint8", "{7, 100, 200, 3}")])
def test_examples_find_the_largest_element_of_any_type(dtype: str, values: str, tmp_path: Path) -> None:
    kind = "float" if dtype == "float32" else "uint8_t"
    text = glue_files(BOARDS["esp32c3"], app_model(dtype))["examples/zephyr/main.c"]
    (tmp_path / "main.c").write_text(text)
    (tmp_path / "model.h").write_text(
        f"""#include <stdint.h>
#define MODEL_TASK_COUNT 1
#define MODEL_INPUT_COUNT 1
#define MODEL_ALL_TASKS 1u
typedef struct {{ const char *name; int8_t *data; uint32_t bytes; float scale; int32_t zero_point; }} model_tensor;
typedef struct {{ const char *name; const uint8_t *outputs; uint32_t output_count; }} model_task;
static int8_t frame[4];
static {kind} stored[4] = {values};
static const uint8_t first[] = {{0}};
static const model_tensor model_inputs[] = {{{{"frame", frame, 4, 0.5f, -3}}}};
static const model_tensor model_outputs[] =
    {{{{"answer", (int8_t *)stored, sizeof stored, {"0.0f" if dtype == "float32" else "0.00390625f"}, 0}}}};
static const model_task model_tasks[] = {{{{"main", first, 1}}}};
static int model_run(uint32_t mask) {{ return mask == 1u ? 0 : 1; }}
"""
    )
    run("gcc", *WARNINGS, "main.c", "-o", "answer", folder=tmp_path)
    assert run(str(tmp_path / "answer"), folder=tmp_path) == "main: 2\n"


def test_a_whole_image_builds_with_cmake_as_with_make(tmp_path: Path) -> None:
    from tests.firmware_gen import tiny_model

    folder = tiny_model.build(BOARDS["mps2-an386"], tmp_path)
    for preset in ("frames", "mlperf-kws01"):
        run("cmake", "--preset", preset, folder=folder)
        run("cmake", "--build", "--preset", preset, folder=folder)
    sizes = [
        int(run("arm-none-eabi-size", image, folder=folder).splitlines()[1].split()[0])
        for image in ("build/frames/firmware.elf", "build-cmake/frames/firmware.elf")
    ]
    assert abs(sizes[0] - sizes[1]) < 64


@pytest.mark.parametrize("board", LIBRARIES.values(), ids=lambda board: board.name)
def test_packages_keep_the_rules_of_their_ecosystems(board: Board) -> None:
    """What Arduino's library manager, Zephyr's west and ESP-IDF's component manager refuse a package for."""
    files = glue_files(board, replace(app_model("int8"), name="-häuser: #1", prefix="houses"))
    yaml: Any = importlib.import_module("yaml")
    module = yaml.safe_load(files["zephyr/module.yml"])
    assert re.fullmatch(r"\w+", module["name"], re.ASCII)
    assert {f"{module['build']['cmake']}/CMakeLists.txt", module["build"]["kconfig"]} <= set(files)
    (symbol,) = re.findall(r"^config ([A-Z][A-Z0-9_]*)$", files["zephyr/Kconfig"], re.M)
    assert f"CONFIG_{symbol}=y\n" in files["examples/zephyr/prj.conf"]
    assert f"if(CONFIG_{symbol})\n" in files["zephyr/CMakeLists.txt"]
    assert "@" not in "".join(text for name, text in files.items() if name.endswith(("CMakeLists.txt", "Kconfig")))
    if "idf_component.yml" in files:
        component = yaml.safe_load(files["idf_component.yml"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", component["version"])
        assert isinstance(component["description"], str)
        assert component["dependencies"] == {"idf": ">=5.0"}
    if "library.properties" in files:
        properties = dict(line.split("=", 1) for line in files["library.properties"].splitlines())
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
        assert properties["dot_a_linkage"] in ("true", "false")
        assert all(properties.values()) and not re.search("arduino", properties["name"], re.I)
        folders = {name.split("/")[1] for name in files if name.startswith("examples/") and name.endswith(".ino")}
        assert all(f"examples/{folder}/{folder}.ino" in files for folder in folders)
        assert folders


def test_more_outputs_than_firmware_takes_say_how_many_exits_have() -> None:
    outputs = tuple(AppTensor(f"o{i}", "int8", (1, 4), 1.0, 0) for i in range(protocol.MOST_TENSORS + 2))
    frame, early = AppTensor("frame", "int8", (1, 4), 1.0, 0), ProjectExit("exit_main", 0, 1, 32, 33, 0, 0.5, 1)
    for exits, said in (((early,), "2 of them are of early exits: generate with --no-exits"), ((), "takes 1 to 32")):
        with pytest.raises(InputError, match=r"the model has 34 outputs.*") as caught:
            AppModel("tiny", "ab" * 32, (frame,), outputs, {"main": (0,)}, exits=exits)
        assert caught.value.remedy.endswith(said)
