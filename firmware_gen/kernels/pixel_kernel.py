"""Layers that slide over an image, as C that computes any run of output pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel, LoweredLayer, Overlap


@dataclass(frozen=True)
class PixelKernel:
    """What fusion needs to know of such a layer.

    Attributes:
        over: The window it slides over the image.
        begin: The beginning of a call, up to ``in, out, constants, scratch, first, last``; ``out`` is the place of
            pixel ``first``. The kernel may count on being asked for all pixels at once.
        on_ring: Makes the same layer over an input that is a ring of so many rows, or, where that is all there are, the
            input itself. It is asked for rows one by one.
    """

    over: Window
    begin: str
    on_ring: Callable[[int], Kernel]


def pixel_kernel(
    kind: str,
    low: LoweredLayer,
    over: Window,
    overlaps: Mapping[int, Overlap],
    on_ring: Callable[[int], Kernel],
) -> Kernel:
    """The kernel of a layer whose body is ``low.body``.

    Args:
        kind: What the function's name begins with.
        low: The layer in C.
        over: The window it slides over the image.
        overlaps: As in :class:`~multigraft.firmware_gen.kernels.kernel.Kernel`.
        on_ring: As in :class:`PixelKernel`.
    """
    begin, functions = low.shared, dict(low.functions)
    if not begin:
        name = f"{kind}_{digest(low.body)}"
        begin = f"{name}("
        functions[name] = (
            f"MG_KERNEL void {name}(const int8_t *in, int8_t *out, const void *constants, void *scratch,"
            f" int32_t first, int32_t last)\n{{\n    {low.body}\n}}\n"
        )

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{begin}{ins[0]}, {outs[0]}, {constants}, {scratch}, 0, {over.pixels()});"

    return Kernel(
        call, low.includes, functions, low.constant, low.scratch_bytes, overlaps,
        pieces=PixelKernel(over, begin, on_ring),
    )  # fmt: skip
