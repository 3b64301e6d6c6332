"""Where channels lie in a tensor: along one axis, each at one or more places, through joins and changes of shape.

A convolution writes its channels one after the other. A Concat puts those of several tensors behind each other, and a
Reshape before a dense layer makes one long row of all positions of every channel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
"""(channels, places of each), indices along an axis."""


@dataclass(frozen=True)
class Part:
    """Channels that go together, as one tensor has them.

    Attributes:
        channels: Their number in the network, from whoever gives it.
        places: Of each along the axis.
    """

    channels: int
    places: Places


@dataclass(frozen=True)
class Layout:
    """All channels of one tensor.

    Attributes:
        axis: Along which they lie, that of the batch included.
        parts: Each place along the axis belongs to one.
    """

    axis: int
    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        """Places along the axis."""
        return sum(part.places.size for part in self.parts)

    def has_places_of(self, other: Layout) -> bool:
        """Whether both have as many channels at the same places, part by part."""
        return (
            self.axis == other.axis
            and len(self.parts) == len(other.parts)
            and all(np.array_equal(a.places, b.places) for a, b in zip(self.parts, other.parts, strict=True))
        )

    def gathered(self, parts: Collection[int], times: int) -> Layout:
        """The layout where so many channels of some parts, one after the other, have become one."""
        made = (
            Part(p.channels, np.sort(p.places.reshape(len(p.places) // times, -1), 1)) if p.channels in parts else p
            for p in self.parts
        )
        return Layout(self.axis, tuple(made))

    def divided(self, parts: Collection[int], away: npt.NDArray[np.bool_], number: int) -> Layout:
        """The layout where some channels of ``parts`` have become others, of another ``number``."""
        made: list[Part] = []
        for part in self.parts:
            if part.channels in parts:
                made += [Part(part.channels, part.places[~away]), Part(number, part.places[away])]
            else:
                made.append(part)
        return Layout(self.axis, in_order(made))


def in_order(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Parts by where they begin."""
    return tuple(sorted(parts, key=lambda part: int(part.places.min())))


def row_of(channels: int, count: int, axis: int) -> Layout:
    """``count`` channels, one after the other."""
    return Layout(axis, (Part(channels, np.arange(count)[:, None]),))


def joined(layouts: Sequence[Layout]) -> Layout:
    """Those of tensors that are joined along the axis of their channels."""
    parts: list[Part] = []
    start = 0
    for layout in layouts:
        parts += [Part(part.channels, part.places + start) for part in layout.parts]
        start += layout.width
    return Layout(layouts[0].axis, tuple(parts))


def grouped(layout: Layout, read: int, made: int) -> Layout | None:
    """The layout behind a grouped convolution, or None where a channel is not made of whole groups.

    Args:
        layout: Of what it reads.
        read: Channels that each group reads.
        made: Channels that each group makes.
    """
    parts = []
    for part in layout.parts:
        if part.places.shape[1] % read:
            return None
        groups = part.places[:, ::read] // read
        if not np.array_equal((groups[:, :, None] * read + np.arange(read)).reshape(part.places.shape), part.places):
            return None
        parts.append(Part(part.channels, (groups[:, :, None] * made + np.arange(made)).reshape(len(groups), -1)))
    return Layout(layout.axis, tuple(parts))


def transposed(layout: Layout, order: Sequence[int]) -> Layout:
    """The layout after a Transpose to ``order``, the batch first."""
    return Layout(list(order).index(layout.axis), layout.parts)


def permuted(layout: Layout, order: Places) -> Layout:
    """The layout where the channel at each place is the one that was at ``order`` of it."""
    new = np.argsort(order)
    return Layout(layout.axis, in_order(Part(p.channels, np.sort(new[p.places], 1)) for p in layout.parts))


def within(layout: Layout, start: int, stop: int) -> Layout:
    """The layout of a piece of a tensor, where every channel lies in it or out of it with all of its places."""
    inside = (Part(p.channels, p.places - start) for p in layout.parts if start <= p.places.min() < stop)
    return Layout(layout.axis, tuple(inside))


def reshaped(layout: Layout, before: tuple[int, ...], after: tuple[int, ...]) -> Layout | None:
    """The layout where a tensor of one shape becomes one of another, or None where channels do not lie along one axis.

    Args:
        layout: Of the tensor before.
        before: Its shape, without the batch.
        after: That of the same values after it, without the batch.
    """
    along = [1] * len(before)
    along[layout.axis - 1] = -1
    wanted = np.broadcast_to(np.arange(layout.width).reshape(along), before).reshape(after)
    for axis in range(len(after)):
        line = wanted[tuple(slice(None) if a == axis else 0 for a in range(len(after)))]
        shape = [-1 if a == axis else 1 for a in range(len(after))]
        if len(line) % layout.width == 0 and np.array_equal(np.broadcast_to(line.reshape(shape), after), wanted):
            found = np.argsort(line, kind="stable").reshape(layout.width, -1)
            parts = (
                Part(part.channels, np.sort(found[part.places].reshape(len(part.places), -1), axis=1))
                for part in layout.parts
            )
            return Layout(axis + 1, tuple(parts))
    return None
