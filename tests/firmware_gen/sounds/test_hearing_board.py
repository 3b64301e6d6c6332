"""Samples sent to boards in QEMU over their serial ports: a tiny model answers with its own input."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.sounds.fake_microphone import FakeMicrophone
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.boards.toolchain import APT_PACKAGES
from multigraft.firmware_gen.project.app_files import AppModel, AppTensor
from multigraft.firmware_gen.project.project_files import project_files
from multigraft.firmware_gen.sounds.sound_files import SoundInput, sound_files
from multigraft.sounds.front_end import NAMED
from multigraft.sounds.log_mel import Samples, log_mel
from multigraft.tensors.arrays import Array
from tests.firmware_gen import tiny_model
from tests.firmware_gen.sounds.test_sound_files import rounded

KEYWORD = NAMED["keyword"]
ROWS = 5
INPUT = SoundInput(1, KEYWORD, ROWS, False, rounded(-5, 0.07))
HEADER = """
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MODEL_STEP_COUNT 1
#define MODEL_INPUT_COUNT 2
typedef struct { const char *name; int8_t *data; uint32_t bytes; float scale; int32_t zero_point; } model_tensor;
extern const model_tensor model_inputs[2];
extern const model_tensor model_outputs[1];
int model_run(uint32_t task_mask);
#endif
"""
SOURCE = """
#include "model.h"
static int8_t other[3], features[200], copy[203];
const model_tensor model_inputs[2] = {{"other", other, 3, 0.5f, 0}, {"features", features, 200, 0.07f, 0}};
const model_tensor model_outputs[1] = {{"copy", copy, 203, 0.07f, 0}};
int model_run(uint32_t task_mask) {
    for (int i = 0; i < 203 && task_mask != 0; i++) {
        copy[i] = i < 3 ? other[i] : features[i - 3];
    }
    return 0;
}
"""
MODEL = AppModel(
    "copy",
    "cd" * 32,
    (AppTensor("other", "int8", (1, 3), 0.5), AppTensor("features", "int8", (1, ROWS, 40, 1), 0.07)),
    (AppTensor("copy", "int8", (1, 203), 0.07),),
    {"copy": (0,)},
    hears=True,
)


@pytest.fixture(scope="module", params=["mps2-an385", "microbit", "qemu-virt-rv32"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    board = BOARDS[request.param]
    if board.qemu is None or not shutil.which(f"qemu-system-{board.qemu.system}"):
        pytest.skip(f"firmware tools: install {' '.join(APT_PACKAGES)}")
    folder = tmp_path_factory.mktemp("hearing")
    common = Path("firmware_gen/kernels/c/common.h").read_text("utf-8")
    sources = {"model.h": HEADER, "model.c": SOURCE, "mg_common.h": common, **sound_files([INPUT])}
    files = {**project_files(board, MODEL), **{f"src/{name}": text for name, text in sources.items()}}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    tiny_model.make(folder)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        yield Target(link, timeout_s=EMULATED_TIMEOUT_S)


def features(heard: Samples) -> Array:
    """What Python gives as the model's input once these samples were heard."""
    silence = np.full((ROWS, 40), log_mel(np.zeros(480, np.int16), KEYWORD)[0, 0])
    last = np.concatenate([silence, log_mel(heard, KEYWORD)])[-ROWS:]
    stored: Array = INPUT.stored[last.astype(np.int64) + 32768]
    return stored.reshape(-1)


def test_a_board_hears_what_python_hears(target: Target) -> None:
    assert target.info.hears
    sound = np.concatenate(list(FakeMicrophone(seed=4, seconds=0.3)))
    other = np.array([[1, 2, 3]], np.int8)
    assert target.hear(sound[:700], forget=True) == 1
    answer = target.infer({"other": other}).outputs["copy"].reshape(-1)
    np.testing.assert_array_equal(answer, np.concatenate([other[0], features(sound[:700])]))
    assert target.hear(sound[700:3001]) == KEYWORD.rows(3001)
    np.testing.assert_array_equal(target.infer().outputs["copy"][0, 3:], features(sound[:3001]))
    assert target.hear(sound[3001:]) == KEYWORD.rows(len(sound))
    answer = target.infer().outputs["copy"].reshape(-1)
    np.testing.assert_array_equal(answer[3:], features(sound))
    np.testing.assert_array_equal(answer[:3], other[0])
    assert target.hear(np.empty(0, np.int16), forget=True) == 0
    np.testing.assert_array_equal(target.infer().outputs["copy"][0, 3:], features(sound[:0]))
    written = np.arange(200, dtype=np.int8).reshape(1, ROWS, 40, 1)
    np.testing.assert_array_equal(target.infer({"features": written}).outputs["copy"][0, 3:], written.reshape(-1))


def test_a_model_that_takes_no_sound_says_so(target: Target) -> None:
    deaf = dataclasses.replace(target.info, hears=False)
    hearing, target.info = target.info, deaf
    try:
        with pytest.raises(DeviceError, match="takes no sound; write its inputs instead"):
            target.hear(np.zeros(4, np.int16))
    finally:
        target.info = hearing
