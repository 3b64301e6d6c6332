"""Golden vectors on a device: every output has to equal the stored one bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from multigraft import serial_protocol as protocol
from multigraft.devices.target.board_learner import BoardLearner
from multigraft.devices.target.target import Target
from multigraft.devices.target.target_info import TargetAnswer, TargetTensor
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
    if digest is not None:
        check_model(target, digest)
    check_untaught(target)
    have_inputs, have_outputs = {t.name for t in info.inputs}, {t.name for t in info.outputs}
    given, wanted = _as_on_device(inputs), _as_on_device(outputs)
    if set(given) != have_inputs or set(wanted) != have_outputs:
        raise InputError(
            f"the golden vectors are for {sorted(inputs)} and {sorted(outputs)}, the device at {target.name} has "
            f"{sorted(have_inputs)} and {sorted(have_outputs)}",
            "generate the project again",
        )
    cases = _cases(target.name, info.inputs, given)
    if cases != _cases(target.name, info.outputs, wanted):
        raise InputError("the golden vectors have more inputs than outputs, or fewer", "generate the project again")
    target.forget()  # the cases of a model with variables are one sequence
    answers = (target.infer({name: array[case] for name, array in given.items()}) for case in range(cases))
    return _compared(answers, outputs, cases)


def check_model(target: Target, digest: str) -> None:
    """Refuse a device that runs another model, or the same one of an earlier generation.

    Args:
        target: The device.
        digest: Hex SHA-256 of the model that it has to run.

    Raises:
        DeviceError: It says another one.
    """
    if target.info.digest != digest:
        raise DeviceError(
            f"the device at {target.name} runs {target.info.model!r}, which is not the model of this project",
            "flash the project first",
        )


def check_untaught(target: Target) -> None:
    """Refuse a device whose layer was solved anew: its answers are no longer those of its project.

    Frames that it learnt change nothing before they are solved.

    Args:
        target: The device.

    Raises:
        DeviceError: The layer that answers is not as it was generated.
    """
    if target.info.learns and (state := BoardLearner(target).state()).is_solved:
        raise DeviceError(
            f"the last layer of {state.task!r} was solved anew on the device at {target.name}, which answers otherwise "
            "than its project says",
            f"let it forget: multigraft learn --port {target.name} --forget; with --save FILE first, to put it back",
        )


def verify_hearing(target: Target, samples: Array, outputs: Mapping[str, Array]) -> GoldenReport:
    """Let a device hear all golden sounds and compare what it answers.

    Args:
        samples: int16, cases x samples.
        outputs: What the device has to answer, by name, first axis = case.

    Raises:
        DeviceError: The device takes no sound or does not answer.
        InputError: The vectors do not fit the device.
    """
    wanted, info = _as_on_device(outputs), target.info
    unknown = sorted(set(wanted) - {t.name for t in info.outputs})
    if unknown or not wanted:
        raise InputError(
            f"the golden sounds are for {sorted(outputs)}, which the device at {target.name} does not have",
            "generate the project again",
        )
    cases = _cases(target.name, [t for t in info.outputs if t.name in wanted], wanted)
    if samples.ndim != 2 or len(samples) != cases:
        raise InputError(
            f"the golden sounds have the shape {samples.shape} for {cases} answers", "generate the project again"
        )
    target.forget()

    def answers() -> Iterator[TargetAnswer]:
        for sound in samples:
            target.hear(sound, forget=True)
            yield target.infer()

    return _compared(answers(), outputs, cases)


def _as_on_device(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {protocol.name_on_device(name): array for name, array in arrays.items()}


def _cases(place: str, tensors: Iterable[TargetTensor], arrays: Mapping[str, Array]) -> int:
    """How many cases the arrays of these tensors have.

    Raises:
        InputError: They differ in that, or a case is not of a tensor's type and size.
    """
    counts = set()
    for tensor in tensors:
        array = arrays[tensor.name]
        if array.ndim == 0 or array.dtype != tensor.dtype or array[:1].nbytes != tensor.bytes:
            raise InputError(
                f"the golden vectors of {tensor.name!r} are {array.dtype} {array.shape}, and the device at {place} has "
                f"{tensor.dtype} {tensor.shape}",
                "generate the project again and flash it",
            )
        counts.add(len(array))
    if len(counts) != 1:
        raise InputError("the golden vectors of a tensor have more cases than others", "generate the project again")
    return counts.pop()


def _compared(answers: Iterable[TargetAnswer], outputs: Mapping[str, Array], cases: int) -> GoldenReport:
    wrong: list[tuple[int, str]] = []
    cycles = latency_us = 0
    for case, answer in enumerate(answers):
        wrong += [
            (case, name)
            for name, array in outputs.items()
            if not np.array_equal(answer.outputs[protocol.name_on_device(name)].ravel(), array[case].ravel())
        ]
        cycles, latency_us = max(cycles, answer.cycles), max(latency_us, answer.latency_us)
    return GoldenReport(cases, tuple(wrong), cycles, latency_us)


def joined(first: GoldenReport, second: GoldenReport) -> GoldenReport:
    """Both as one; the cases of the second are numbered on."""
    return GoldenReport(
        first.cases + second.cases,
        first.wrong + tuple((first.cases + case, name) for case, name in second.wrong),
        max(first.cycles, second.cycles),
        max(first.latency_us, second.latency_us),
    )
