"""What an operator hands to the generator: C text, constants, scratch, and where its output may overlap its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multigraft.firmware_gen.kernels.c_text import digest

Call = Callable[[Sequence[str], Sequence[str], str, str], str]
"""Pointers of the inputs, of the outputs, of the scratch, and of the constants, to a C statement."""

WORTH = 4
"""Instructions of an inference that a byte of flash is worth, where a choice saves one of them and costs the other."""


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
        includes: Names of the C files (``kernels/c``) it uses.
        functions: C functions by name that it calls; equal ones are printed once.
        constant: Bytes it reads from flash, 4-byte aligned; empty if none.
        scratch_bytes: Memory it needs while it runs, 4-byte aligned.
        overlaps: Input position to how the output may overlap it.
        view: The output is the input's memory under another shape: nothing runs.
        pieces: What fusion needs to know of operators that can run pixel by pixel.
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
class LoweredLayer:
    """A linear layer in C before it has a name: the body of its function and what that needs.

    Attributes:
        body: One statement over ``in``, ``out``, ``constants``, ``scratch`` (and ``first``, ``last``); empty with
            a shared function.
        constant: Bytes it reads from flash, as in :class:`Kernel`.
        scratch_bytes: Memory it needs while it runs, as in :class:`Kernel`.
        includes: The C files with the kernel.
        together: Pixels that are read before the first of them is written.
        functions: C functions the body calls.
        in_place: The output may lie over inputs that were read.
        shared: The beginning of a call, up to these arguments in this order, of a function that many layers share.
    """

    body: str
    constant: bytes
    scratch_bytes: int
    includes: tuple[str, ...]
    together: int = 1
    functions: Mapping[str, str] = field(default_factory=dict)
    in_place: bool = True
    shared: str = ""


def view() -> Kernel:
    """A kernel that does nothing: its output is its input's memory."""

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return ""

    return Kernel(call, view=True)


def function_kernel(
    kind: str,
    body: str,
    includes: tuple[str, ...] = (),
    overlaps: Mapping[int, Overlap] | None = None,
    pointers: tuple[str, str] = ("in", "out"),
) -> Kernel:
    """A kernel that is one C function of an input and an output, which is named after what it does.

    Args:
        kind: What the function's name begins with.
        body: Its statements, over two ``int8_t *``.
        includes: As in :class:`Kernel`.
        overlaps: As in :class:`Kernel`.
        pointers: What the body calls input and output.
    """
    name = f"{kind}_{digest(body)}"
    source, result = pointers
    text = f"MG_KERNEL void {name}(const int8_t *{source}, int8_t *{result})\n{{\n    {body}\n}}\n"

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{name}({ins[0]}, {outs[0]});"

    return Kernel(call, includes, {name: text}, overlaps=overlaps or {})
