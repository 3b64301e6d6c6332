"""Windows over an image: output size, padding, and how far an output may overlap the input it is computed from."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.firmware_gen.program.options import integer
from multigraft.firmware_gen.program.program import Node
from multigraft.tflite.graph import Tensor


@dataclass(frozen=True)
class Window:
    """A kernel that slides over an NHWC image; sizes in pixels, depths in channels."""

    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    k_h: int
    k_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_h: int = 0
    pad_w: int = 0

    @property
    def taps(self) -> int:
        """Input values per output of a full convolution."""
        return self.k_h * self.k_w * self.in_c

    @property
    def pointwise(self) -> bool:
        """Each output pixel reads exactly the input pixel at its place."""
        same = (self.in_h, self.in_w, 0, 0) == (self.out_h, self.out_w, self.pad_h, self.pad_w)
        return self.k_h == self.k_w == self.stride_h == self.stride_w == 1 and same

    def plane(self) -> tuple[int, int]:
        """Height and width of all pixels that outputs read, padding included."""
        height = (self.out_h - 1) * self.stride_h + (self.k_h - 1) * self.dilation_h + 1
        width = (self.out_w - 1) * self.stride_w + (self.k_w - 1) * self.dilation_w + 1
        return height, width

    @property
    def span(self) -> int:
        """Height of the kernel, with the rows that dilation leaves out."""
        return (self.k_h - 1) * self.dilation_h + 1

    def rows_needed(self, rows: int) -> int:
        """Input rows, counted from the first, that so many output rows are computed from."""
        return min(self.in_h, max((rows - 1) * self.stride_h - self.pad_h + self.span, 0)) if rows else 0

    def rows_in_time(self) -> bool:
        """Whether each output row covers, in place, only input rows it is the last to be computed from, or earlier."""
        return all(y * self.out_w <= self.rows_needed(y) * self.in_w for y in range(1, self.out_h + 1))

    def pixels(self) -> int:
        """Output pixels."""
        return self.out_h * self.out_w

    def distance(self, together: int) -> int:
        """Least distance from the output's start to the input's, so that no pixel is overwritten before it is read.

        Args:
            together: Pixels that are read before the first of them is written.
        """
        needed = 0
        for first in range(0, self.pixels(), together):
            end = min(first + together, self.pixels())
            if end < self.pixels():
                needed = max(needed, end * self.out_c - self._least_read(end))
        return needed

    def distance_by_channels(self, together: int) -> int:
        """As :meth:`distance`, where so many pixels' first channels are written before their others are read."""
        pixels = self.pixels()
        ends = ((first, min(first + together, pixels)) for first in range(0, pixels, together))
        return max(0, *(end * self.out_c - self._least_read(first) for first, end in ends))

    def _least_read(self, pixel: int) -> int:
        """Offset of the first input byte that output ``pixel`` or a later one reads."""
        y, x = divmod(pixel, self.out_w)

        def first(row: int, column: int) -> int:
            top = max(row * self.stride_h - self.pad_h, 0)
            left = max(column * self.stride_w - self.pad_w, 0)
            return (min(top, self.in_h) * self.in_w + min(left, self.in_w)) * self.in_c

        next_row = first(y + 1, 0) if y + 1 < self.out_h else self.in_h * self.in_w * self.in_c
        return min(first(y, x), next_row)


def window(node: Node, kernel: tuple[int, int], source: Tensor, result: Tensor) -> Window:
    """The window of a convolution or pooling ``node`` with a ``kernel`` of (height, width)."""
    _, in_h, in_w, in_c = source.shape
    _, out_h, out_w, out_c = result.shape
    options = node.op.options
    stride_h, stride_w = integer(options.get("stride_h"), 1), integer(options.get("stride_w"), 1)
    dilation_h, dilation_w = integer(options.get("dilation_h_factor"), 1), integer(options.get("dilation_w_factor"), 1)
    pad_h = pad_w = 0
    if options.get("padding", "SAME") == "SAME":
        # TFLite's ComputePaddingWithOffset: the odd pixel goes behind.
        pad_h = max((out_h - 1) * stride_h + (kernel[0] - 1) * dilation_h + 1 - in_h, 0) // 2
        pad_w = max((out_w - 1) * stride_w + (kernel[1] - 1) * dilation_w + 1 - in_w, 0) // 2
    elif options.get("padding") == "EXPLICIT":
        pad_h, pad_w = integer(options.get("pad_h")), integer(options.get("pad_w"))
    return Window(
        in_h, in_w, in_c, out_h, out_w, out_c, *kernel, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w
    )  # fmt: skip
