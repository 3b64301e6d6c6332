"""What the Arm job runs: the device side's tests, and none that could not be imported there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.arm.chosen import HAS, LEFT_OUT, PARTS, SINGLE, arguments, chosen, needs
from tests.arm.root import PROCESSORS

CHECKOUT = Path(__file__).resolve().parents[2]


def test_tests_of_the_device_are_chosen_and_those_of_the_workstation_are_not() -> None:
    found = chosen(CHECKOUT)
    assert {"tests/runtime/test_engine.py", "tests/calibration/collect/test_store.py"} <= set(found)
    for name in ("tests/core/cli/test_cli_build.py", "tests/calibration/test_field_round.py"):
        assert name not in found
        assert "onnx" in needs(CHECKOUT, name)
    assert set(chosen(CHECKOUT, is_small=True)) < set(found)


def test_what_is_chosen_imports_nothing_that_is_missing_there() -> None:
    for name in chosen(CHECKOUT):
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", (CHECKOUT / name).read_text("utf-8"), re.MULTILINE))
        assert not imported & {"onnx", "onnxruntime", "scipy", "cv2", "torch", "tritonclient"}, name
        assert needs(CHECKOUT, name) <= HAS


def test_files_that_are_left_out_by_hand_are_there() -> None:
    assert [name for name in LEFT_OUT if not (CHECKOUT / name).is_file()] == []
    for name in [*SINGLE, *arguments(PARTS)]:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (CHECKOUT / file).read_text("utf-8")
        assert file in chosen(CHECKOUT)


def test_a_processor_tells_what_its_board_does() -> None:
    for processor in PROCESSORS:
        told = processor.cpuinfo()
        assert told.count("CPU implementer\t: 0x41\n") == 4
        assert f"CPU part\t: 0x{processor.part:03x}\n" in told
        assert told.endswith(f"{processor.board}\n")
