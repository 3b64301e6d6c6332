"""``[task.on]``: a task that looks at the boxes of another one."""

from __future__ import annotations

from dataclasses import dataclass

from multigraft.answers.crops import On
from multigraft.converters.settings.toml_reader import integer, key, number, several, text


@dataclass(frozen=True)
class CascadeSettings:
    """Whose boxes, how many of them, and how they are cut out of the frame."""

    task: str = key("Name of the task whose boxes are looked at.", text())
    margin: float = key(
        "Added on each side of a box, as a share of its width or height.",
        number(lambda v: 0 <= v <= 10, "a number of 0 to 10"),
        default=0.0,
    )
    top: int = key(
        "Boxes looked at per frame, those of the highest scores.", integer(1, "a whole number above 0"), default=4
    )
    labels: tuple[str, ...] = key(
        "Classes whose boxes are looked at; all without it.", several(text(), "a list of labels"), default=()
    )
    level: tuple[int, ...] = key(
        "Numbers of two keypoints of the box that lie level in the crop, the left one in the picture first (eyes).",
        several(integer(0, "a whole number of at least 0"), "two whole numbers, as in [0, 1]"),
        default=(),
    )
    deadline_us: float | None = key(
        "Microseconds after the start of a frame from which on no further box is begun.",
        number(lambda v: v > 0, "a number above 0"),
        default=None,
    )

    @property
    def on(self) -> On:
        """As it stands in the manifest."""
        return On(self.task, self.margin, self.top, self.labels, self.level, self.deadline_us)
