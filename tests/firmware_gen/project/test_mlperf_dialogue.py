"""A session of the public MLPerf Tiny runner with a real network in QEMU, and everything it might send wrongly.

Written from the protocol's description (mlperf-tiny-uart/v1): commands end in %, replies are lines in CRLF, and each
command is concluded by m-ready; data come in `db` commands of at most 31 bytes, 26 where energy is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from multigraft.errors import ConversionError
from multigraft.files import sha256_of
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.boards import BOARDS
from multigraft.firmware_gen.boards.cores import CORES
from multigraft.firmware_gen.boards.qemu import EmulatedBoard
from multigraft.firmware_gen.project.folder import build_folder, write_folder
from multigraft.tensors.arrays import Array
from tests.firmware_gen.boards.test_boards import Runner, needs_tools
from tests.firmware_gen.host import reference, stimuli
from tests.firmware_gen.mlperf_shapes import autoencoder
from tests.firmware_gen.models import residual

BOARD = BOARDS["mps2-an386"]
INPUT_BYTES = 12 * 12 * 3

pytestmark = needs_tools


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    pytest.importorskip("serial")
    folder: Path = tmp_path_factory.mktemp("mlperf")
    project = generate(residual(), core=CORES[BOARD.core], name="ic01")
    write_folder(project, BOARD, sha256_of(residual()), folder)
    build_folder(folder, "PROTOCOL=mlperf")
    with EmulatedBoard(BOARD, folder / "build/mlperf/firmware.elf") as emulated:
        runner = Runner(emulated.port)
        emulated.resume()
        mode, lap, done = runner.lines()
        assert (mode, done) == ("m-timestamp-mode-performance", "m-init-done")
        assert len(laps_of([lap])) == 1
        yield runner
        runner.serial.close()


def real_answers(frames: Array) -> Array:
    """What the interpreter's reference kernels answer, dequantised: cases x 7."""
    return (reference(residual(), [frames])[0].astype(float).reshape(len(frames), -1) + 128) / 256


def results_of(lines: list[str]) -> list[float]:
    (results,) = [match[1] for line in lines if (match := re.fullmatch(r"m-results-\[([^]]+)]", line))]
    assert all(re.fullmatch(r"-?\d+\.\d{3}", value) for value in results.split(","))
    return [float(value) for value in results.split(",")]


def laps_of(lines: list[str]) -> list[int]:
    return [int(match[1]) for line in lines if (match := re.fullmatch(r"m-lap-us-([0-9]+)", line))]


@pytest.mark.parametrize("chunk", [31, 26])
def test_a_session_gives_the_right_answers(runner: Runner, chunk: int) -> None:
    (named,) = runner.ask("name")
    assert re.fullmatch(r"m-name-dut-\[[^]]+]", named)
    assert "m-model-[ic01]" in runner.ask("profile")
    frames = stimuli((1, 12, 12, 3), 8, seed=chunk)
    for frame, wanted in zip(frames, real_answers(frames), strict=True):
        assert runner.load(frame.tobytes(), chunk) == ["m-load-done"]
        said = runner.ask("infer 2 1")
        before, after = laps_of(said)
        assert before <= after
        np.testing.assert_allclose(results_of(said), wanted, atol=0.0005001)
        assert results_of(runner.ask("results")) == results_of(said)


def test_time_goes_on(runner: Runner) -> None:
    stamps = [laps_of(runner.ask("timestamp"))[0] for _ in range(5)]
    assert stamps == sorted(stamps)


def test_many_inferences_take_longer_than_one(runner: Runner) -> None:
    frame = stimuli((1, 12, 12, 3), 6)[5]
    runner.load(frame.tobytes())
    once, often = (laps_of(runner.ask(f"infer {count} 0")) for count in (1, 60))
    assert often[1] - often[0] > once[1] - once[0]
    # A run destroys the network's inputs, so what was loaded has to be staged again for each.
    np.testing.assert_allclose(results_of(runner.ask("results")), real_answers(frame[None])[0], atol=0.0005001)


WRONG = {
    "": "e-[Unknown command: ]",
    "inferr 1 0": "e-[Unknown command: inferr]",
    "NAME": "e-[Unknown command: NAME]",
    "m-ready": "e-[Unknown command: m-ready]",
    "n\xe4me": "e-[Unknown command: n??me]",
    "db": "e-[Command 'db' requires a subcommand]",
    "db load": "e-[Command 'db load' requires the # of bytes]",
    "db load 0": "e-[Command 'db load' must be >0 bytes]",
    "db load -3": "e-[Command 'db load' must be >0 bytes]",
    "db load many": "e-[Command 'db load' must be >0 bytes]",
    "db load 99999999999999": "e-[Command 'db load' must be >0 bytes]",
    f"db load {INPUT_BYTES + 1}": f"e-[Supplied buffer size {INPUT_BYTES + 1} exceeds maximum of {INPUT_BYTES}]",
    "db abc": "e-[Insufficent number of hex digits]",
    "db zz": "e-[Invalid hex digit 'zz']",
    "infer -1 0": "e-[Inference iterations must be >0]",
    "infer one": "e-[Inference iterations must be >0]",
    "infer 1 -1": "e-[Inference warmup must be >=0]",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_command_is_refused_and_forgotten(runner: Runner, command: str) -> None:
    frame = stimuli((1, 12, 12, 3), 6, seed=3)[5]
    runner.load(frame.tobytes())
    assert runner.ask(command) == [WRONG[command]]
    np.testing.assert_allclose(results_of(runner.ask("infer 1 0")), real_answers(frame[None])[0], atol=0.0005001)


def test_bytes_behind_the_last_are_dropped_and_a_load_may_begin_again(runner: Runner) -> None:
    frame = stimuli((1, 12, 12, 3), 6, seed=4)[5].tobytes()
    assert runner.ask("db load 4") == ["m-[Expecting 4 bytes]"]
    assert runner.ask("db 010203040506") == ["m-load-done"]
    assert runner.ask("db 0708") == []
    assert runner.ask("db print") == ["m-buffer-01-02-03-04"]
    assert runner.ask("db load 8") == ["m-[Expecting 8 bytes]"]
    assert runner.ask("db 0102") == []
    assert runner.load(frame) == ["m-load-done"]
    wanted = real_answers(np.frombuffer(frame, np.int8).reshape(1, 1, 12, 12, 3))[0]
    np.testing.assert_allclose(results_of(runner.ask("infer 1 0")), wanted, atol=0.0005001)


def test_what_was_not_loaded_whole_is_told(runner: Runner) -> None:
    runner.ask("db load 8")
    runner.ask("db 01020304")
    told, *rest = runner.ask("infer 1 0")
    assert told == f"e-[Input db has 4 bytes, expected {INPUT_BYTES}]"
    assert len(results_of(rest)) == 7


def test_digits_may_be_capitals_and_lines_may_end(runner: Runner) -> None:
    assert runner.ask("db load 3") == ["m-[Expecting 3 bytes]"]
    assert runner.ask("\r\ndb AbFf00\r\n") == ["m-load-done"]
    assert runner.ask("  db   print  ") == ["m-buffer-ab-ff-00"]


def test_commands_may_come_byte_by_byte_and_two_at_once(runner: Runner) -> None:
    for byte in b"name%":
        runner.serial.write(bytes([byte]))
        runner.serial.flush()
    assert runner.lines() == [f"m-name-dut-[{BOARD.name}]"]
    runner.serial.write(b"name%timestamp%")
    assert runner.lines() == [f"m-name-dut-[{BOARD.name}]"]
    assert len(laps_of(runner.lines())) == 1


@pytest.mark.parametrize("length", [81, 82, 5000])
def test_a_command_longer_than_any_does_nothing(runner: Runner, length: int) -> None:
    assert runner.ask("db load 200") == ["m-[Expecting 200 bytes]"]
    assert runner.ask("db " + "11" * 38) == []
    assert runner.ask("db ".ljust(length, "2")) == ["e-[Command is too long]"]
    assert "22" not in "".join(runner.ask("db print"))
    assert runner.ask("name") == [f"m-name-dut-[{BOARD.name}]"]


def test_anomaly_detection_takes_real_features_and_answers_their_distance(tmp_path: Path) -> None:
    """The runner sends float32 (2,560 bytes for 640 features); the score is the mean squared error."""
    model = autoencoder(64, 16, 4)
    write_folder(generate(model, core=CORES[BOARD.core]), BOARD, sha256_of(model), tmp_path)
    build_folder(tmp_path, "MLPERF_MODEL=ad01")
    given = np.random.default_rng(1).normal(-10, 15, (6, 64)).astype(np.float32)
    given[4, :4] = [1e30, -1e30, 0.4 * 2.5, 0.4 * -2.5]
    given[5] = 1e4
    steps = given / np.float32(0.4)
    rounded = np.trunc(steps) + np.sign(steps) * (np.abs(steps - np.trunc(steps)) >= 0.5)
    stored = np.clip(rounded + 90, -128, 127).astype(np.int8)
    restored = np.float32(0.35) * (reference(model, [stored[:, None]])[0].reshape(6, 64).astype(np.float32) - 84)
    with EmulatedBoard(BOARD, tmp_path / "build/mlperf-ad01/firmware.elf") as emulated:
        runner = Runner(emulated.port)
        emulated.resume()
        runner.lines()
        assert "m-model-[ad01]" in runner.ask("profile")
        for case in (0, 1, 2, 3, 5):
            assert runner.load(given[case].tobytes()) == ["m-load-done"]
            (score,) = results_of(runner.ask("infer 1 0"))
            wanted = np.mean(np.square(restored[case] - given[case]), dtype=np.float64)
            assert score == pytest.approx(wanted, rel=1e-5, abs=0.0005)
        runner.load(given[4].tobytes())
        assert len(laps_of(runner.ask("infer 1 0"))) == 2
        runner.serial.close()


def test_a_network_that_is_none_of_the_benchmarks_is_refused(tmp_path: Path) -> None:
    write_folder(generate(residual(), core=CORES[BOARD.core]), BOARD, sha256_of(residual()), tmp_path)
    with pytest.raises(ConversionError, match="MLPERF_MODEL is ad01, ic01, kws01 or vww01, not kws"):
        build_folder(tmp_path, "MLPERF_MODEL=kws")
    with pytest.raises(ConversionError, match="ad01 compares an output with one int8 input of the same size"):
        build_folder(tmp_path, "MLPERF_MODEL=ad01")
