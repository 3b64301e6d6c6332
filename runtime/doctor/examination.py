"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from multigraft.runtime.doctor.finding import Finding
from multigraft.runtime.doctor.hardware import (
    check_clock,
    check_disk,
    check_machine,
    check_memory,
    check_processor,
)
from multigraft.runtime.doctor.ports import check_cameras, check_groups, check_serial
from multigraft.runtime.doctor.sensors import check_heat, check_power
from multigraft.runtime.doctor.software import check_delegate, check_interpreters, check_packages, check_python
from multigraft.runtime.doctor.system import System

Check = Callable[[System], list[Finding]]

CHECKS: tuple[Check, ...] = (
    check_machine,
    check_python,
    check_interpreters,
    check_delegate,
    check_packages,
    check_processor,
    check_heat,
    check_power,
    check_cameras,
    check_serial,
    check_groups,
    check_memory,
    check_disk,
    check_clock,
)


def examine(system: System, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Findings as they come; a check that fails itself is one, too."""
    for check in checks:
        try:
            yield from check(system)
        except Exception as error:
            name = check.__name__.removeprefix("check_")
            said = f"could not be looked at ({type(error).__name__}: {error})"
            yield Finding(name, "missing", said, "report it with what stands here", (str(error),))


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong; what is missing is no fault."""
    return all(finding.state != "wrong" for finding in findings)


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Plain data."""
    return {"well": is_well(findings), "findings": [finding.to_json() for finding in findings]}
