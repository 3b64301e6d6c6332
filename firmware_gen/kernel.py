"""What an operator hands to the generator: C text, constants, scratch, and where its output may overlap its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.firmware_gen.cores import CoreFeatures
from multigraft.firmware_gen.program import Node

Array = npt.NDArray[Any]
Call = Callable[[Sequence[str], Sequence[str], str, str], str]
"""Pointers of the inputs, of the outputs, of the scratch, and of the constants, to a C statement."""


@dataclass(frozen=True)
class Overlap:
    """An output may share memory with an input that dies here.

    With ``distance`` the input has to lie at least that many bytes behind the output's start (``0``: in place or
    behind; negative: it may even lie before); without one it has to lie exactly in place.
    """

    distance: int | None = None


@dataclass(frozen=True)
class Kernel:
    """One step, ready to be placed and printed.

    Attributes:
        call: Makes the C statement that runs it.
        includes: Names of the C files (``firmware_gen/c``) it uses.
        functions: C functions by name that it calls; equal ones are printed once.
        constant: Bytes it reads from flash, 4-byte aligned; empty if none.
        scratch_bytes: Memory it needs while it runs, 4-byte aligned.
        overlaps: Input position to how the output may overlap it.
        view: The output is the input's memory under another shape: nothing runs.
        pieces: For operators that can run pixel by pixel, what fusion needs to know.
        macs: Multiply-accumulates, for reports.
    """

    call: Call
    includes: tuple[str, ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)
    constant: bytes = b""
    scratch_bytes: int = 0
    overlaps: Mapping[int, Overlap] = field(default_factory=dict)
    view: bool = False
    pieces: Any = None
    macs: int = 0


@dataclass(frozen=True)
class Lowered:
    """A linear layer in C before it has a name: the body of its function and what that needs.

    Attributes:
        body: One statement over ``in``, ``out``, ``constants``, ``scratch`` (and ``first``, ``last``).
        constant: As in :class:`Kernel`.
        scratch_bytes: As in :class:`Kernel`.
        includes: The C files with the kernel.
        together: Pixels that are read before the first of them is written.
        functions: C functions the body calls.
    """

    body: str
    constant: bytes
    scratch_bytes: int
    includes: tuple[str, ...]
    together: int = 1
    functions: Mapping[str, str] = field(default_factory=dict)


class Operator:
    """Base of all operators: what it demands, what it computes, how it looks in C.

    A constraint is a method named ``constraint_*`` whose docstring is what the user reads when it does not hold.
    """

    names: tuple[str, ...] = ()
    summary = ""

    def broken(self, node: Node) -> str | None:
        """The docstring of the first constraint that does not hold, or None."""
        for attribute in dir(self):
            if attribute.startswith("constraint_"):
                constraint = getattr(self, attribute)
                if not constraint(node):
                    return str(constraint.__doc__)
        return None

    def constraints(self) -> tuple[str, ...]:
        """All that the operator demands, one sentence each."""
        return tuple(str(getattr(self, a).__doc__) for a in dir(self) if a.startswith("constraint_"))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        """The output as tflite-runtime 2.14's reference kernel computes it, in numpy.

        Args:
            node: The operator.
            inputs: One array per input, constants included, of the tensors' shapes and dtypes.
        """
        raise NotImplementedError

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        """The operator as C for ``core``."""
        raise NotImplementedError


def activation_range(activation: object, scale: float, zero_point: int) -> tuple[int, int]:
    """CalculateActivationRangeQuantized for int8."""

    def stored(value: float) -> int:
        ratio = float(np.float32(value) / np.float32(scale))
        return zero_point + int(np.copysign(np.floor(abs(ratio) + 0.5), ratio))

    low, high = -128, 127
    if activation in ("RELU", "RELU6", "RELU_0_TO_1"):
        low = max(low, stored(0.0))
    if activation == "RELU6":
        high = min(high, stored(6.0))
    if activation == "RELU_0_TO_1":
        high = min(high, stored(1.0))
    if activation == "RELU_N1_TO_1":
        low, high = max(low, stored(-1.0)), min(high, stored(1.0))
    return low, high


def integer(option: object, default: int = 0) -> int:
    """An operator option as int."""
    return default if option is None else int(option)  # type: ignore[call-overload]
