"""Golden self-test: does this machine compute what the bundle was built to compute?

Kernels differ: optimised int8 kernels of another processor or interpreter version round some sums the other way, which
grows to a few steps (LSB) at the outputs. So the policy is:

- Same interpreter, version and processor architecture as those that made the golden outputs (the manifest's
  ``provenance["golden"]``: ``backend``, ``version``, ``machine``): every integer tensor has to be equal. LiteRT without
  XNNPACK, which it has wherever it can, is not the same interpreter.
- Otherwise, and for float32 tensors always: the outputs of the tasks may differ by :data:`MAX_LSB` steps (integer) or
  :data:`MAX_FLOAT` of the tensor's largest magnitude (float32), and the top class of a classification has to be the
  same, unless the golden outputs hold several that close to the top.
- Where rounding decides (signs of integer sums, weights of 4 bits), sound kernels differ by more. The manifest says by
  how much those of the machine that built it did on the golden inputs (:data:`multigraft.bundle.manifest.SPREAD`).
  The root mean square may be twice that with other kernels: each of two is as far from what both round. It has to be
  below :data:`MOST_RMS` all the same: what gives one value, whatever it is asked, is off by the whole deviation.
- Where other kernels run a network with quantised layers, an output of :data:`MANY` values or more may have some that
  are further off (of the thousands of boxes that a detector weighs, those without an object say little): the root mean
  square of the differences is at most :data:`MAX_RMS` of the output's standard deviation, 18 dB below it. So it is for
  classes, of whatever number, since the top class is looked at besides: a sound one of two was 11 LSB off. Of the
  detectors that were tried (docs/figures.md), the worst was 0.074.
- Where the manifest says how the outputs of a task are decoded, its answers judge: the mean score of the golden
  inputs whose answer is not empty is at least :data:`MIN_AGREEMENT`, by the tolerances of agreement
  (:mod:`multigraft.answers.matching`). Answers see what is above a threshold alone and golden inputs are few, so the
  root mean square is bounded all the same, by :data:`MAX_RMS_DECODED` (14 dB). Two PP-OCR networks had 0.148 and 0.163.

What differs within the policy is reported, not hidden: :meth:`SelfTest.to_json`.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.answers.family import Decoded
from multigraft.answers.matching import frame_score
from multigraft.answers.multi_label import MultiLabel
from multigraft.answers.text import Text
from multigraft.bundle.bundle import GOLDEN_INPUTS, GOLDEN_OUTPUTS, Bundle
from multigraft.bundle.manifest import SPREAD, Manifest, Task
from multigraft.errors import BundleError
from multigraft.npz import read_npz
from multigraft.runtime.answers import make_decoder
from multigraft.runtime.backends import Backend
from multigraft.tensors.arrays import Array
from multigraft.tensors.quantisation import INTEGERS
from multigraft.tensors.specs import TensorSpec

Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Stored network inputs to every tensor that the segments wrote, both by name."""

MAX_LSB = 8
MAX_FLOAT = 1e-3
MAX_RMS = 0.125
MAX_RMS_DECODED = 0.2
MOST_RMS = 0.99
MIN_AGREEMENT = 0.9
MANY = 1000


@dataclass(frozen=True)
class SelfTest:
    """How the golden inputs came out.

    Attributes:
        cases: How many golden inputs were run.
        exact: All integer tensors equal the golden ones.
        same_kernels: The golden outputs were made by this interpreter, version and architecture.
        max_lsb: Tensor name to the largest difference in steps, integer tensors that differ only.
        max_relative: Tensor name to the largest difference over the tensor's largest magnitude, float32 tensors that
            differ only.
        made_by: Who made the golden outputs, in words.
        run_by: Who ran them here, in words.
    """

    cases: int
    exact: bool
    same_kernels: bool
    max_lsb: dict[str, int]
    max_relative: dict[str, float]
    made_by: str
    run_by: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.max_lsb and not self.max_relative:
            return f"{self.cases} golden inputs: all tensors equal"
        parts = []
        if self.max_lsb:
            parts.append(f"{len(self.max_lsb)} integer tensors differ by up to {max(self.max_lsb.values())} LSB")
        if self.max_relative:
            worst = max(self.max_relative.values())
            parts.append(f"{len(self.max_relative)} float tensors differ by up to {worst:.1e} of their range")
        return f"{self.cases} golden inputs: {' and '.join(parts)} from {self.made_by}; here runs {self.run_by}"


def golden_origin(backend: Backend) -> dict[str, str]:
    """What ``provenance["golden"]`` has to hold for outputs that ``backend`` made on this machine."""
    return {"backend": backend.name, "version": backend.version, "machine": platform.machine()}


def read_golden(bundle: Bundle) -> tuple[dict[str, Array], dict[str, Array]]:
    """Golden inputs and outputs by tensor name, first axis = case.

    Raises:
        BundleError: They are missing, damaged, or of unequal length.
    """
    pair = []
    for name in (GOLDEN_INPUTS, GOLDEN_OUTPUTS):
        content = bundle.read(name)
        try:
            pair.append(read_npz(content))
        except ValueError as error:
            raise BundleError(f"{name} is not a NumPy file ({error})", "build the bundle again") from error
    inputs, outputs = pair
    arrays = (*inputs.values(), *outputs.values())
    if not inputs or not all(array.ndim and array.size for array in arrays):
        raise BundleError("the golden inputs and outputs hold no cases", "build the bundle again")
    if len({len(array) for array in arrays}) != 1:
        raise BundleError("the golden inputs and outputs differ in length", "build the bundle again")
    return inputs, outputs


def run_self_test(bundle: Bundle, compute: Compute, backend: Backend, has_delegate: bool | None = None) -> SelfTest:
    """Run all golden inputs through all segments.

    Args:
        bundle: Holds the golden inputs and outputs.
        compute: Runs all segments on stored network inputs, by tensor name, and gives every tensor they wrote.
        backend: The interpreter that ``compute`` runs on.
        has_delegate: Whether XNNPACK runs there; None if unknown.

    Raises:
        BundleError: The outputs are missed by more than the policy allows, or the golden files are damaged.
    """
    inputs, outputs = read_golden(bundle)
    cases = len(next(iter(inputs.values())))
    computed: dict[str, list[Array]] = {name: [] for name in outputs}
    for case in range(cases):
        result = compute({name: _case(array, case) for name, array in inputs.items()})
        for name in outputs:
            if name not in result:
                raise BundleError(f"golden output {name} is no output of a segment", "build the bundle again")
            computed[name].append(result[name])
    specs = {spec.name: spec for spec in bundle.manifest.tensors}
    lsb: dict[str, int] = {}
    relative: dict[str, float] = {}
    for name, golden in outputs.items():
        here = np.stack(computed[name])
        if here.dtype != golden.dtype or here.size != golden.size:
            raise BundleError(
                f"golden output {name} is {golden.dtype} {golden.shape}, not {here.dtype} {here.shape}",
                "build the bundle again",
            )
        here = here.reshape(golden.shape)
        difference = np.abs(here.astype(np.float64) - golden.astype(np.float64)).max(initial=0)
        if specs[name].dtype in INTEGERS:
            if difference:
                lsb[name] = int(difference)
        elif difference or np.isnan(difference):
            relative[name] = float(difference / max(float(np.abs(golden).max(initial=0)), 1e-30))
    origin = bundle.manifest.provenance.get("golden")
    origin = origin if isinstance(origin, dict) else {}
    here_origin = golden_origin(backend)
    lacks_delegate = backend.name == "litert" and has_delegate is False
    report = SelfTest(
        cases=cases,
        exact=not lsb,
        same_kernels=not lacks_delegate and all(origin.get(key) == value for key, value in here_origin.items()),
        max_lsb=lsb,
        max_relative=relative,
        made_by=_in_words(origin),
        run_by=_in_words(here_origin) + (", without XNNPACK" if lacks_delegate else ""),
    )
    _judge(bundle, report, outputs, {name: np.stack(arrays) for name, arrays in computed.items()})
    return report


def _case(array: Array, case: int) -> Array:
    # Stored with or without the batch axis of 1, the number of elements is the same.
    one: Array = array[case]
    return one if one.shape[:1] == (1,) else one[None]


def _in_words(origin: dict[str, Any]) -> str:
    if not origin:
        return "an unknown interpreter"
    return f"{origin.get('backend')} {origin.get('version')} on {origin.get('machine')}"


def _judge(bundle: Bundle, report: SelfTest, golden: dict[str, Array], here: dict[str, Array]) -> None:
    if report.same_kernels and not report.exact:
        name, steps = max(report.max_lsb.items(), key=lambda item: item[1])
        raise BundleError(
            f"self-test: tensor {name} differs by {steps} LSB from what the same interpreter gave at build time",
            "build the bundle again, or open it without the self-test if you can accept the difference",
        )
    remedy = _remedy(bundle.manifest, report)
    most_off, rms = ({} if report.same_kernels else measured_spread(bundle.manifest, of) for of in ("most", "rms"))
    specs = {spec.name: spec for spec in bundle.manifest.tensors}
    for task in bundle.manifest.tasks:
        may_stray = not report.same_kernels and any(
            bundle.manifest.segment(name).precision != "float32" for name in task.segments
        )
        # Weights of 8 bits that compute floats (dynamic range) are called float32 and stray as well.
        says_the_same = not report.same_kernels and _says_the_same(task, specs, golden, here)
        most = MAX_RMS_DECODED if says_the_same else MAX_RMS
        for name in task.outputs:
            is_judged = name in golden and (golden[name][0].size >= MANY or task.kind == "classification")
            if (may_stray or says_the_same) and is_judged and deviation(golden[name], here[name]) <= most:
                continue
            if name in rms and name in golden and deviation(golden[name], here[name]) <= min(2 * rms[name], MOST_RMS):
                continue
            if report.max_lsb.get(name, 0) > MAX_LSB:
                raise BundleError(
                    f"self-test: output {name} of task {task.name} differs by {report.max_lsb[name]} LSB from that of "
                    f"{report.made_by}, and at most {MAX_LSB} are usual",
                    remedy,
                )
            if not report.max_relative.get(name, 0.0) <= MAX_FLOAT:
                raise BundleError(
                    f"self-test: output {name} of task {task.name} differs by {report.max_relative[name]:.2g} of its "
                    f"range, and at most {MAX_FLOAT} is usual",
                    remedy,
                )
        if task.kind == "classification" and task.outputs[0] in golden:
            name = task.outputs[0]
            _check_top(task, specs[name], golden[name], here[name], 2 * most_off.get(name, 0.0), remedy)


def measured_spread(manifest: Manifest, of: str) -> dict[str, float]:
    """Task output to by how much sound kernels differed on the golden inputs; empty where nobody measured that.

    Args:
        manifest: The bundle's.
        of: ``most`` or ``rms``; see :data:`multigraft.bundle.manifest.SPREAD`.
    """
    held = manifest.provenance.get(SPREAD)
    found = held.get(of) if isinstance(held, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: float(off) for name, off in found.items() if isinstance(off, int | float) and off >= 0}


def _remedy(manifest: Manifest, report: SelfTest) -> str:
    here = report.run_by.split(" on ")[0]
    held = manifest.provenance.get(SPREAD)
    ran = held.get("kernels") if isinstance(held, dict) else None
    if isinstance(ran, list) and any(str(kernels).startswith(here) for kernels in ran):
        # Building again would measure the same.
        return "measure its answers here with multigraft eval --no-self-test, and leave it out if they are right"
    return (
        f"build the bundle again where {here} is installed, whose kernels are measured then, or open it without the "
        f"self-test if you can accept the difference"
    )


def deviation(golden: Array, here: Array) -> float:
    """The root mean square of the differences over the golden output's standard deviation; infinite where that is 0."""
    wanted = golden.astype(np.float64)
    rms, usual = float(np.sqrt(np.mean((here.reshape(golden.shape) - wanted) ** 2))), float(wanted.std())
    return rms / usual if usual else (math.inf if rms else 0.0)


def _says_the_same(
    task: Task, specs: Mapping[str, TensorSpec], golden: dict[str, Array], here: dict[str, Array]
) -> bool:
    """Whether what is decoded from the golden inputs agrees; False where nothing is."""
    if task.answer is None or not all(name in golden for name in task.outputs):
        return False
    scores = []
    for case in range(len(golden[task.outputs[0]])):
        right, said = (_answer(task, specs, arrays, case) for arrays in (golden, here))
        if not (_is_empty(right) and _is_empty(said)):
            scores.append(frame_score(right, said) or 0.0)
    return bool(scores) and float(np.mean(scores)) >= MIN_AGREEMENT


def _answer(task: Task, specs: Mapping[str, TensorSpec], arrays: dict[str, Array], case: int) -> Decoded:
    of = [specs[name] for name in task.outputs]
    return cast(Decoded, make_decoder(task, of, [arrays[spec.name][case].reshape(spec.shape) for spec in of])())


def _is_empty(answer: Decoded) -> bool:
    """Whether it says nothing, as damaged networks often do."""
    if isinstance(answer, Detections):
        return not len(answer)
    if isinstance(answer, MultiLabel):
        return not len(answer.classes)
    return isinstance(answer, Text) and not answer.text


def _check_top(task: Task, spec: TensorSpec, golden: Array, here: Array, spread: float, remedy: str) -> None:
    wanted = golden.reshape(len(golden), -1).astype(np.float64)
    chosen = here.reshape(len(here), -1).astype(np.float64).argmax(axis=1)
    of_range = float(np.abs(wanted).max(initial=0))
    slack = max(MAX_LSB, spread) if spec.dtype in INTEGERS else max(MAX_FLOAT, spread) * of_range
    behind = wanted.max(axis=1) - wanted[np.arange(len(wanted)), chosen]
    if (behind > slack).any():
        case = int((behind > slack).argmax())
        raise BundleError(f"self-test: task {task.name} gives another class for golden input {case}", remedy)
