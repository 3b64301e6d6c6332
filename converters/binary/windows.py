"""Paddings of binary convolutions: TFLite knows SAME and VALID alone, and zeros cannot be packed.

PyTorch pads both sides alike, and SAME pads the end more. Where the two differ, rows that no wanted window reads are
added at the end, so that SAME pads the begin as it is wanted; or every place is computed, and some are kept.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """How one axis is computed.

    Attributes:
        added: Rows of ones behind the end.
        stride: Of the operator.
        begin: First place of its result that is wanted.
        step: From one wanted place to the next.
        count: How many are wanted.
        made: How many it gives.
    """

    added: int
    stride: int
    begin: int
    step: int
    count: int
    made: int

    @property
    def is_cropped(self) -> bool:
        return (self.begin, self.step, self.count) != (0, 1, self.made)


def same_axis(size: int, span: int, stride: int, before: int, behind: int, pads_one: bool) -> Axis | None:
    """An axis with padding of SAME that computes what a padding of ``before`` and ``behind`` asks for.

    Args:
        size: Of the input.
        span: Of the kernel, with its dilation.
        stride: Wanted.
        before: Places of padding in front.
        behind: Places of padding at the end.
        pads_one: What is padded is 1, not 0.

    Returns:
        None where SAME never pads so much.
    """
    count = (size + before + behind - span) // stride + 1
    reach = (count - 1) * stride - before + span
    for added in range(stride + 1):
        made = -(-(size + added) // stride)
        first = max((made - 1) * stride + span - size - added, 0) // 2
        if first == before and count <= made and (not added or pads_one or reach <= size):
            return Axis(added, stride, 0, 1, count, made)
    first = (span - 1) // 2
    begin = first - before
    if begin < 0 or begin + (count - 1) * stride >= size:
        return None
    return Axis(0, 1, begin, stride, count, size)
