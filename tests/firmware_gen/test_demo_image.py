"""The demo bundle as one image that fits into 1 MiB of flash and 128 KiB of RAM, its three tasks on demand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from multigraft import Bundle
from multigraft.bundle.bundle import GOLDEN_INPUTS
from multigraft.cli.main import main
from multigraft.cli.shared.board_options import EMULATED_TIMEOUT_S
from multigraft.devices.target.serial_link import SerialLink
from multigraft.devices.target.target import Target
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.project.folder import ProjectFolder, build_folder
from multigraft.tensors.arrays import Array
from tests.firmware_gen.boards.test_boards import needs_tools
from tests.firmware_gen.host import interpreter, stimuli

BOARD = BOARDS["mps2-an386"]
"""Has more memory than that; QEMU hands a Netduino the bytes of its UART many times slower."""
SWITCHED = (
    ("garment", "worn", "digit"), ("digit",), ("garment",), ("worn",), ("garment", "digit"), ("worn", "digit"),
    ("garment", "worn"), ("digit",),
)  # fmt: skip
"""Tasks asked for in turn: each is switched on and off again, alone and beside each of the others."""


@pytest.fixture(scope="module")
def folder(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    path = tmp_path_factory.mktemp("demo") / "fw"
    assert main(["firmware", str(demo[0] / "demo.graft"), "--board", BOARD.name, "-o", str(path)]) == 0
    build_folder(path)
    return ProjectFolder.open(path)


def answers(bundle: Bundle, frame: Array) -> dict[str, Array]:
    """Per task what tflite-runtime's reference kernels answer, the segments run one after the other."""
    model = interpreter(bundle.model)
    tensors = {i.tensor: frame for i in bundle.manifest.inputs}
    for segment in bundle.manifest.segments:
        run = model.get_signature_runner(segment.signature)
        said = run(**{argument: tensors[tensor] for argument, tensor in segment.inputs.items()})
        tensors |= {tensor: said[argument] for argument, tensor in segment.outputs.items()}
    return {task.name: tensors[task.outputs[0]] for task in bundle.manifest.tasks}


def frames_of(bundle: Bundle) -> Array:
    """Golden inputs, which are real frames, and random and extreme ones."""
    with np.load(io.BytesIO(bundle.read(GOLDEN_INPUTS))) as golden:
        real = next(iter(golden.values()))[:8]
    return np.concatenate([real, stimuli(real.shape[1:], 24)])


@needs_tools
def test_three_tasks_are_switched_on_and_off_in_one_image(demo: tuple[Path, str], folder: ProjectFolder) -> None:
    bundle = Bundle.open(demo[0] / "demo.graft")
    inputs = [given.tensor for given in bundle.manifest.inputs]
    outputs = {task.name: task.outputs[0] for task in bundle.manifest.tasks}
    compared = dict.fromkeys(outputs, 0)
    with EmulatedBoard(BOARD, folder.image()) as emulated, SerialLink(emulated.port) as link:
        emulated.resume()
        target = Target(link, timeout_s=EMULATED_TIMEOUT_S)
        assert list(target.info.tasks) == list(outputs)
        for case, frame in enumerate(frames_of(bundle)):
            wanted = answers(bundle, frame)
            tasks = SWITCHED[case % len(SWITCHED)]
            answer = target.infer(dict.fromkeys(inputs, frame), tasks)
            assert set(answer.outputs) == {outputs[task] for task in tasks}
            for task in tasks:
                np.testing.assert_array_equal(answer.outputs[outputs[task]].ravel(), wanted[task].ravel())
                compared[task] += 1
        # What was switched off did not run.
        ran = target.statistics()
        assert {task: ran[outputs[task]].inferences for task in outputs} == compared
        memory = target.memory()
    assert memory.flash_used <= 1 << 20
    assert memory.ram_used + memory.stack_peak <= 128 << 10
    assert min(compared.values()) >= 16


@needs_tools
def test_the_images_own_golden_vectors_verify(folder: ProjectFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "verify", str(folder.path), "--qemu"]) == 0
    assert "golden cases equal bit for bit" in capsys.readouterr().out
