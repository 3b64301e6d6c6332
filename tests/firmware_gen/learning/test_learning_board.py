"""A board of ten digits learns an eleventh character, over its serial port: sums, layer and answers are numpy's."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.board_learner import BoardLearner
from multigraft.devices.target.fake_learning import FakeLearning
from multigraft.devices.target.fake_link import FakeFirmware, FakeLink
from multigraft.devices.target.golden import check_untaught
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetTensor
from multigraft.errors import DeviceError, UsageError
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.learning.known_frames import knows
from multigraft.firmware_gen.learning.last_layer import Learning, widened
from multigraft.firmware_gen.learning.learnt_layer import MOST_FRAMES, LearntLayer, learner_of
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.program.program import Program, Task, load
from multigraft.firmware_gen.project.arena_spaces import spaces_of
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.serial_protocol import KEEP
from multigraft.tensors.arrays import Array
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import evaluate
from tests.firmware_gen.learning.glyphs import FEATURES, SIDE, drawn, network, some_digits

CLASSES = 11
SHOWN, KEPT, ASKED = 12, 2, 4


def tapped(program: Program) -> Program:
    return replace(program, tasks=(Task("features", ("features",)),))


@pytest.fixture(scope="module")
def learning() -> Learning:
    """Of the task, whose sums over 100 digits without labels go into the firmware."""
    frames = [{"image": frame} for frame in some_digits(100, 4)[0]]
    return Learning("main", CLASSES, knows(prune(load(network())), Learning("main", CLASSES), frames))


def features_of(frames: Array) -> Array:
    return evaluate(tapped(load(network())), [frames])["features"].reshape(len(frames), FEATURES)


def as_numpy(learning: Learning) -> LearntLayer:
    return LearntLayer(learner_of(prune(widened(load(network()), learning)), learning, 10))


@contextlib.contextmanager
def fake(learning: Learning, folder: Path) -> Iterator[Target]:
    """A device without hardware, whose layer is numpy's."""
    learnt = as_numpy(learning)
    project = generate(network(), core=CORES["m3"], learn=learning)
    inputs, outputs = (
        [TargetTensor(t.name, t.dtype, t.shape, t.size, t.scale, t.zero_point) for t in tensors]
        for tensors in (project.inputs, project.outputs)
    )
    firmware = FakeFirmware(
        inputs, outputs, {"main": (0,)}, lambda arrays: [learnt.answer(features_of(arrays[0][None]))],
        learning=FakeLearning(learnt, lambda arrays: features_of(arrays[0][None])),
    )  # fmt: skip
    with FakeLink(firmware) as link:
        yield Target(link, link.clock)


@contextlib.contextmanager
def emulated(name: str, learning: Learning, folder: Path) -> Iterator[Target]:
    """Firmware that was generated and compiled, in QEMU."""
    pytest.importorskip("serial")
    board, content = BOARDS[name], network()
    spaces = spaces_of(board, SIDE * SIDE)
    write_folder(
        generate(content, core=CORES[board.core], spaces=spaces, learn=learning), board,
        hashlib.sha256(content).hexdigest(), folder,
    )  # fmt: skip
    build_folder(folder)
    with EmulatedBoard(board, folder / "build/frames/firmware.elf") as device, SerialLink(device.port) as link:
        device.resume()
        yield Target(link, timeout_s=EMULATED_TIMEOUT_S)


@pytest.mark.parametrize(
    "name", ["fake", *(pytest.param(n, marks=needs_tools) for n in ("netduinoplus2", "microbit", "qemu-virt-rv32"))]
)
def test_an_eleventh_class_is_learnt_on_the_board(name: str, learning: Learning, tmp_path: Path) -> None:
    """Without hardware, with a floating-point unit for single precision, without one, and on RISC-V: the same bits."""
    learnt = as_numpy(learning)
    new, kept, asked = (
        drawn("X" * SHOWN, 3),
        some_digits(KEPT, 6)[0],
        np.concatenate([some_digits(ASKED, 7)[0], drawn("X", 8)]),
    )
    with fake(learning, tmp_path) if name == "fake" else emulated(name, learning, tmp_path) as target:
        board_side = BoardLearner(target)
        before = [target.infer({"image": frame}).outputs["digit"][0] for frame in asked]
        np.testing.assert_array_equal(before, learnt.answer(features_of(asked)))
        for label, frames in ((10, new), (KEEP, kept)):
            for frame, row in zip(frames, features_of(frames), strict=True):
                target.infer({"image": frame})
                board_side.learn(label)
                learnt.learn(row, label)
        with pytest.raises(DeviceError, match="has answered no frame that it has not learnt"):
            board_side.learn(10)
        state = board_side.state(10)
        assert (state.task, state.classes, state.of_class, state.frames) == ("main", CLASSES, SHOWN, SHOWN + KEPT)
        assert (state.features, state.most_frames, state.identity) == (FEATURES, MOST_FRAMES, learnt.identity)
        check_untaught(target)
        learnt.solve()
        board_side.solve()
        with pytest.raises(DeviceError, match="the last layer of 'main' was solved anew on the device at"):
            check_untaught(target)
        sums = board_side.sums()
        assert (sums, board_side.layer()) == (learnt.sums(), learnt.stored_layer())
        after = [target.infer({"image": frame}).outputs["digit"][0] for frame in asked]
        np.testing.assert_array_equal(after, learnt.answer(features_of(asked)))
        assert np.argmax(after[-1]) == 10 and np.argmax(before[-1]) < 10
        target.reset()
        assert board_side.state().frames == 0
        assert board_side.layer() == as_numpy(learning).stored_layer()
        board_side.put_back(sums, state.identity)
        board_side.solve()
        assert board_side.layer() == learnt.stored_layer()
        board_side.forget()
        assert board_side.layer() == as_numpy(learning).stored_layer()
        with pytest.raises(DeviceError, match="has no such class to learn"):
            board_side.learn(11)
        with pytest.raises(DeviceError, match="can solve nothing from what it learnt"):
            board_side.solve()
        with pytest.raises(UsageError, match="sums of 3 bytes do not fit"):
            board_side.put_back(b"abc", state.identity)
        with pytest.raises(UsageError, match="were learnt by firmware with another layer or other known frames"):
            board_side.put_back(sums, as_numpy(replace(learning, known=None)).identity)


def test_old_classes_stay_and_the_new_one_is_found(learning: Learning) -> None:
    """As on the board, whose bits these are: 20 frames of the eleventh class, and none of the digits."""
    learnt = as_numpy(learning)
    digits, labels = some_digits(300, 2)
    features, others = features_of(digits), features_of(drawn("X" * 100, 9))
    before = (learnt.answer(features).argmax(axis=1) == labels).mean()
    for row in features_of(drawn("X" * 20, 3)):
        learnt.learn(row, 10)
    learnt.solve()
    after = (learnt.answer(features).argmax(axis=1) == labels).mean()
    assert before > 0.97 and after > before - 0.06
    assert (learnt.answer(others).argmax(axis=1) == 10).mean() > 0.9
