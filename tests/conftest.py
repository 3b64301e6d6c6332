"""Set-up for all tests: with ``CI=true`` no test may skip but for a reason listed in ``tests/allowed_skips.txt``."""

from __future__ import annotations

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
    """The folder that ``multigraft demo`` wrote and what it printed; made once, as it takes a minute or two."""
    folder = tmp_path_factory.mktemp("demo") / "demo-out"
    command = [*without_network(), sys.executable, "-m", "multigraft.cli.main", "demo", "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout
