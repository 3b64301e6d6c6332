"""Golden vectors on a device: every output has to equal the stored one bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multigraft.devices.target.target import Target
from multigraft.errors import DeviceError, InputError
from multigraft.tensors.arrays import Array


@dataclass(frozen=True)
class GoldenReport:
    """What verifying found. ``wrong`` lists case and output of every difference; empty is the proof.

    ``cycles`` and ``latency_us`` are the largest of all cases; on an emulator they mean nothing.
    """

    cases: int
    wrong: tuple[tuple[int, str], ...]
    cycles: int
    latency_us: int


def verify_target(
    target: Target,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    digest: str | None = None,
) -> GoldenReport:
    """Run all golden cases on a device and compare.

    Args:
        inputs: Stored input tensors by name, first axis = case.
        outputs: What the device has to answer.
        digest: Hex SHA-256 of the model that has to be on the device; None does not ask.

    Raises:
        DeviceError: The device runs another model or does not answer.
        InputError: The vectors do not fit the device.
    """
    info = target.info
    if digest is not None and info.digest != digest:
        raise DeviceError(
            f"{info.board} runs {info.model!r}, which is not the model of this project", "flash the project first"
        )
    have_inputs, have_outputs = {t.name for t in info.inputs}, {t.name for t in info.outputs}
    if set(inputs) != have_inputs or set(outputs) != have_outputs:
        raise InputError(
            f"the golden vectors are for {sorted(inputs)} and {sorted(outputs)}, the device has "
            f"{sorted(have_inputs)} and {sorted(have_outputs)}",
            "generate the project again",
        )
    cases = len(next(iter(inputs.values())))
    wrong: list[tuple[int, str]] = []
    target.forget()  # the cases of a model with variables are one sequence
    cycles = latency_us = 0
    for case in range(cases):
        answer = target.infer({name: array[case] for name, array in inputs.items()})
        wrong += [
            (case, name)
            for name, array in outputs.items()
            if not np.array_equal(answer.outputs[name].ravel(), array[case].ravel())
        ]
        cycles, latency_us = max(cycles, answer.cycles), max(latency_us, answer.latency_us)
    return GoldenReport(cases, tuple(wrong), cycles, latency_us)


def verify_hearing(target: Target, samples: Array, outputs: Mapping[str, Array]) -> GoldenReport:
    """Let a device hear all golden sounds and compare what it answers.

    Args:
        samples: int16, cases x samples.
        outputs: What the device has to answer, by name, first axis = case.

    Raises:
        DeviceError: The device takes no sound or does not answer.
    """
    wrong: list[tuple[int, str]] = []
    target.forget()
    cycles = latency_us = 0
    for case, sound in enumerate(samples):
        target.hear(sound, forget=True)
        answer = target.infer()
        wrong += [
            (case, name)
            for name, array in outputs.items()
            if not np.array_equal(answer.outputs[name].ravel(), array[case].ravel())
        ]
        cycles, latency_us = max(cycles, answer.cycles), max(latency_us, answer.latency_us)
    return GoldenReport(len(samples), tuple(wrong), cycles, latency_us)


def joined(first: GoldenReport, second: GoldenReport) -> GoldenReport:
    """Both as one; the cases of the second are numbered on."""
    return GoldenReport(
        first.cases + second.cases,
        first.wrong + tuple((first.cases + case, name) for case, name in second.wrong),
        max(first.cycles, second.cycles),
        max(first.latency_us, second.latency_us),
    )
