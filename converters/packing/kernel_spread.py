"""By how much right kernels differ on a bundle's golden inputs: the measure of its self-test on other interpreters.

Where rounding decides (signs of int8 sums, weights of few bits, classes that hang on little), an output differs between
sound kernels by far more than usual. What those of this machine make of a model says by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.bundle.manifest import SPREAD, Manifest
from multigraft.converters.conversion.interpreters import PREFERRED, Arrays, Runner, version_of
from multigraft.errors import ConversionError, MissingDependencyError
from multigraft.runtime.self_test import MAX_FLOAT, MAX_LSB, deviation, measured_spread
from multigraft.tensors.quantisation import INTEGERS

OTHERS = ((PREFERRED, False), ("tflite-runtime", True))
"""Interpreters, and whether XNNPACK runs there where it can: all that there is beside what makes golden outputs."""
LARGE_MACS = 3_000_000_000
"""Multiply-accumulates that one set of kernels runs at most, two cases aside: some run a billion a second."""


def kernel_spread(
    content: bytes,
    cases: Sequence[tuple[Arrays, Arrays]],
    outputs: Sequence[str],
    run: Callable[[Runner, Arrays], Arrays],
    macs: int,
) -> dict[str, Any]:
    """Compare the other sets of kernels that are installed with the one that made golden outputs.

    Args:
        content: The model.
        cases: Golden inputs with their outputs, which are of :data:`PREFERRED` with XNNPACK.
        outputs: Outputs of tasks.
        run: Runs a case on an interpreter; gives outputs by name.
        macs: Of one case.

    Returns:
        What stands under :data:`multigraft.bundle.manifest.SPREAD`.
    """
    ran = []
    most, rms = dict.fromkeys(outputs, 0.0), dict.fromkeys(outputs, 0.0)
    tried = cases[: max(2, LARGE_MACS // max(1, macs))]
    for backend, delegates in OTHERS:
        try:
            runner = Runner(content, backend, delegates=delegates)
            answers = [run(runner, inputs) for inputs, _ in tried]
        except (ConversionError, MissingDependencyError):
            continue
        name_there = "litert" if backend == PREFERRED else backend
        ran.append(f"{name_there} {version_of(backend)}" + ("" if delegates else " without XNNPACK"))
        for name in outputs:
            wanted = np.stack([golden[name] for _, golden in tried])
            here = np.stack([answer[name] for answer in answers])
            most[name] = max(most[name], _difference(here, wanted))
            rms[name] = max(rms[name], deviation(wanted, here))
    # What is no number, or no share of anything, is no measure.
    held = [n for n in outputs if most[n] and math.isfinite(most[n]) and math.isfinite(rms[n])]
    return {"kernels": ran, "most": {n: most[n] for n in held}, "rms": {n: rms[n] for n in held}}


def _difference(here: npt.NDArray[Any], golden: npt.NDArray[Any]) -> float:
    """In steps of integers; of floats, as a share of the largest magnitude."""
    found = float(np.abs(here.astype(np.float64) - golden.astype(np.float64)).max(initial=0))
    if golden.dtype.name not in INTEGERS:
        found /= max(float(np.abs(golden).max(initial=0)), 1e-30)
    return found


def in_words(manifest: Manifest) -> list[str]:
    """A sentence on outputs that hang on how kernels round; none where they differ as usual."""
    dtypes: Mapping[str, str] = {spec.name: spec.dtype for spec in manifest.tensors}
    found = {
        name: f"{off:.0f} LSB" if dtypes[name] in INTEGERS else f"{off:.2g} of its range"
        for name, off in measured_spread(manifest, "most").items()
        if off > (MAX_LSB if dtypes[name] in INTEGERS else MAX_FLOAT)
    }
    if not found:
        return []
    rms = measured_spread(manifest, "rms")
    told = ", ".join(f"{name} by up to {off}, {rms[name]:.2g} of its deviation (RMS)" for name, off in found.items())
    kernels = " and ".join(manifest.provenance[SPREAD]["kernels"])
    return [
        f"Some answers hang on how kernels round: on golden inputs {kernels} differ from {PREFERRED} ({told}). "
        f"A self-test there allows twice that RMS."
    ]
