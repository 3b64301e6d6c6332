"""Which test files an Arm root can run: those of the device side that need nothing of the workstation."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDERS = ("core", "devices", "runtime", "calibration")
HAS = {
    "PIL", "ai_edge_litert", "flatbuffers", "hypothesis", "multigraft", "numpy", "prometheus_client", "pytest",
    "serial", "tests", "tflite_runtime",
}  # fmt: skip
"""Packages in the root that tests import."""
MAKES_BUNDLES = {"demo", "onnx2tf_environment"}
"""Fixtures that convert networks."""
LEFT_OUT = {
    "tests/runtime/deploy/test_cuts.py": "starts some hundred Pythons; the processor plays no part in cuts",
    "tests/runtime/delegate/test_compiling.py": "installs where there is no compiler, which no processor changes",
    "tests/runtime/http/test_live_page.py": "needs a browser",
    "tests/core/cli/test_output.py": "looks at what some dozen commands print by bash and rich, which the root lacks",
    "tests/core/test_broken_packages.py": "breaks packages by a compiler, and the root has none",
}
"""Test file to why it is not among them in spite of the rule."""
PARTS = {
    "tests/core/cli/test_start.py": (
        "test_importing_the_package_loads_no_numpy_until_a_bundle_is_asked_for",
        "test_collecting_and_refitting_set_one_thread_for_blas_before_numpy_reads_it",
    ),
    "tests/runtime/doctor/test_software.py": (
        "test_the_probe_is_what_its_code_makes",
        "test_an_interpreter_that_works",
        "test_without_proc_cpuinfo_the_cause_is_named",
    ),
    "tests/runtime/service/test_serving.py": (
        "test_the_log_says_whether_xnnpack_is_on",
        "test_a_wrong_configuration_ends_with_78",
        "test_an_option_that_there_is_not_ends_a_unit_for_good",
        "test_frames_that_the_tasks_do_not_take_end_it_with_78",
        "test_a_port_in_use_is_worth_another_try",
    ),
}
"""Test file to those of its tests that tell something there; the others start Pythons and services."""
SINGLE = {
    "tests/devices/flash/test_flash.py::test_the_real_tools_take_our_commands_and_say_that_there_is_no_board": (
        "needs esptool, pyocd and stm32loader"
    ),
    "tests/core/statistics/test_noised_similarity.py::test_with_noise_it_lies_within_its_interval": "needs opendp",
    "tests/core/statistics/test_noised_similarity.py::test_where_noise_drowns_everything_nothing_is_known": (
        "needs opendp"
    ),
    "tests/runtime/quiet/test_wobbling_scores.py::test_a_broker_is_told_once_of_a_score_that_wobbles": (
        "needs paho-mqtt"
    ),
    "tests/runtime/quiet/test_wobbling_scores.py::test_thresholds_of_ones_own": "needs paho-mqtt",
    "tests/core/cli/firmware/test_firmware_command.py::test_the_report_is_read_back_and_drawn": "needs matplotlib",
    "tests/core/cli/test_main.py::test_a_shell_can_complete_verbs_and_options": "needs argcomplete",
    "tests/core/cli/firmware/test_firmware_bad_input.py::test_what_is_wrong_with_a_folder_is_said": "needs matplotlib",
    "tests/devices/cameras/test_picture_files.py::test_what_may_not_be_read_is_named_with_its_permission": (
        "becomes another user, and the job's namespace has one"
    ),
    "tests/runtime/scheduling/test_admission.py::test_what_was_measured_tells_what_happens_afterwards": (
        "plays hundreds of machines that are made up"
    ),
    "tests/runtime/test_memory.py::test_code_is_let_go_unless_it_was_written_to": (
        "asks which pages of code are in memory, and an emulator runs others"
    ),
    "tests/runtime/test_child.py::test_every_step_has_its_own_time": "counts tenths of a second of processor time",
    "tests/runtime/http/test_access.py::test_a_hundred_hostile_clients_do_not_slow_the_loop": (
        "is about a rate, which an emulation does not have"
    ),
    "tests/runtime/service/test_rates.py::test_each_task_is_answered_at_its_rate_and_deadlines_are_told": (
        "is about a rate, which an emulation does not have"
    ),
    "tests/runtime/energy/test_energy_command.py::test_a_measurement_tells_frame_parts_tasks_and_draws_its_curve": (
        "is about a second's readings, in which an emulation has too few frames"
    ),
    "tests/runtime/energy/test_windows.py::test_the_bound_holds_the_truth_where_frames_beat_against_the_sampling": (
        "draws 800 runs to see how often a bound holds"
    ),
    "tests/core/agreement/test_betting.py::test_the_mean_is_below_the_bound_in_at_most_one_of_twenty": (
        "draws 36,000 runs to see how often a bound holds"
    ),
}
"""Test to why it is left out of a file that is chosen."""
SMALL = (
    "tests/core/answers", "tests/core/bundle", "tests/core/tensors", "tests/runtime/delegate", "tests/runtime/test_",
)  # fmt: skip
"""What 32-bit Arm runs: that numbers are right there."""


def chosen(checkout: Path, is_small: bool = False) -> list[str]:
    """Test files, relative to the checkout, in order.

    Args:
        checkout: The repository's root.
        is_small: Of :data:`SMALL` only.
    """
    found = []
    for folder in FOLDERS:
        for path in sorted((checkout / "tests" / folder).rglob("test_*.py")):
            name = path.relative_to(checkout).as_posix()
            if name in LEFT_OUT or (is_small and not name.startswith(SMALL)):
                continue
            if not needs(checkout, name) - HAS and not _arguments(path) & MAKES_BUNDLES:
                found.append(name)
    return found


def arguments(files: Iterable[str]) -> list[str]:
    """What pytest is given for chosen files: a file, or its tests by name where :data:`PARTS` has it."""
    return [
        word for file in files for word in ([f"{file}::{test}" for test in PARTS[file]] if file in PARTS else [file])
    ]


@functools.cache
def needs(checkout: Path, name: str) -> frozenset[str]:
    """Packages beside the standard library that a test file imports, by itself or by what it imports of here."""
    packages: set[str] = set()
    waiting, seen = [checkout / name], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        is_test = path.is_relative_to(checkout / "tests")
        for module in _imported(path, is_test):
            packages.add(module.partition(".")[0])
            waiting += [file for file in _files(checkout, module) if file.is_file()]
    return frozenset(packages - set(sys.stdlib_module_names) - {"__future__"})


@functools.cache
def _imported(path: Path, is_test: bool) -> tuple[str, ...]:
    """What tests import anywhere; of the product only what is imported with the module, the rest being optional."""
    tree = ast.parse(path.read_text("utf-8"))
    found: list[str] = []
    for node in ast.walk(tree) if is_test else tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _files(checkout: Path, module: str) -> Iterator[Path]:
    first, *rest = module.split(".")
    if first == "multigraft":
        rooms = ("devices", "runtime", "calibration", "converters", "firmware_gen")
        base = checkout if rest and rest[0] in rooms else checkout / "core"
    elif first == "tests":
        base = checkout / "tests"
    else:
        return
    yield base.joinpath(*rest).with_suffix(".py") if rest else base / "__init__.py"
    yield base.joinpath(*rest, "__init__.py")


@functools.cache
def _arguments(path: Path) -> frozenset[str]:
    functions = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef))
    return frozenset(argument.arg for function in functions for argument in function.args.args)
