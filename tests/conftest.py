"""Set-up for all tests: with ``CI=true`` no test may skip but for a reason listed in ``tests/allowed_skips.txt``."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from multigraft.converters.conversion.onnx2tf_environment import Environment

# As commands have it, before numpy is imported: on a busy machine its threads wait for each other, and 576 systems of
# nine equations take half a minute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_LINES = (Path(__file__).parent / "allowed_skips.txt").read_text("utf-8").splitlines()
_ALLOWED = [line for line in _LINES if line and not line.startswith("#")]
if os.environ.get("MULTIGRAFT_WITH_TORCH"):
    _ALLOWED = [line for line in _ALLOWED if not re.search("torch|onnxscript", line)]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not any(re.search(pattern, reason) for pattern in _ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which CI does not allow: {reason}"


LONGEST = (
    "core/cli/test_demo.py",
    "firmware_gen/cascades/test_people.py",
    "firmware_gen/learning/test_learning_board.py",
    "attack/test_archive_mutants.py",
    "firmware_gen/inspection/test_machine_code.py",
    "attack/test_crop_releases.py",
    "attack/test_releases.py",
    "converters/quantising/test_groups.py",
    "converters/demo/test_sound_networks.py",
    "docs/test_tutorial.py",
    "fuzz/test_fuzz.py",
    "core/cli/test_missed_budget.py",
    "core/cli/test_reproducible.py",
    "attack/test_sanitised.py",
    "firmware_gen/test_several.py",
    "firmware_gen/project/test_update.py",
    "core/cli/firmware/test_firmware_command.py",
    "core/cli/firmware/test_learn_command.py",
    "devices/power/test_jtop.py",
    "calibration/collect/test_collector.py",
    "core/cli/test_arrays.py",
    "core/cli/test_tflite_tasks.py",
    "core/cli/test_cli_build.py",
    "calibration/test_crops_round.py",
    "converters/conversion/test_networks.py",
    "converters/fleet/test_gathering.py",
    "attack/boards/test_boards.py",
    "firmware_gen/passes/test_streaming.py",
    "firmware_gen/arithmetic/test_requantise.py",
    "docs/test_site.py",
    "test_architecture.py",
    "converters/conversion/test_onnx2tf_environment.py",
    "runtime/service/test_serving.py",
    "runtime/service/test_unit.py",
    "runtime/energy/test_energy_command.py",
    "runtime/deploy/test_cuts.py",
)
"""Files that take longest, those first, so that no process is left alone with one at the end."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded for all tests stays, and is not walked by every collection of garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; what needs what another of them makes, as the demo, comes much later."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(scope="session")
def onnx2tf_environment() -> Environment:
    """onnx2tf's own environment, made in the user's cache if it is not there yet (minutes, once)."""
    from multigraft.converters.conversion import onnx2tf_environment as environments
    from multigraft.errors import ConversionError

    try:
        return environments.ensure(print)
    except ConversionError as error:
        pytest.skip(f"the onnx2tf environment cannot be made: {error.problem}")


def without_network() -> list[str]:
    """A command prefix that leaves only loopback, where this user may do that."""
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "--net", "true"], capture_output=True, check=False).returncode == 0:
        return [unshare, "--net"]
    return []


@pytest.fixture(scope="session")
def demo(onnx2tf_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that ``multigraft demo`` wrote and what it printed; made once for all processes of a run."""
    made = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        made = made.parent
    folder, printed = made / "demo-out", made / "demo-printed"
    with (made / "demo-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            command = [*without_network(), sys.executable, "-m", "multigraft.cli.main", "demo", "-o", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout, "utf-8")
    return folder, printed.read_text("utf-8")
