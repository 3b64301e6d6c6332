"""How far each task's network may be thinned: a share, as far as its answers allow, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from multigraft.converters.settings.toml_reader import Place, Reader, nearest
from multigraft.errors import ConfigurationError

Share = float | Literal["auto", "none"]

_EXPECTS = '"none", "auto", or a share above 0 and below 1, for all or in a table of TASK = SHARE'


@dataclass(frozen=True)
class ThinShares:
    """What was asked for.

    Attributes:
        default: Of every task that ``tasks`` does not name.
        tasks: Task to its share.
    """

    default: Share = "none"
    tasks: Mapping[str, Share] = field(default_factory=dict)

    def of(self, task: str) -> Share:
        """What was asked for one task."""
        return self.tasks.get(task, self.default)

    @property
    def asks_for_numbers(self) -> bool:
        """Whether any share is given as a number."""
        return any(not isinstance(share, str) for share in (self.default, *self.tasks.values()))

    @property
    def is_none(self) -> bool:
        """Whether nothing may be thinned."""
        return self.default == "none" and all(share == "none" for share in self.tasks.values())


def _share(value: Any, place: Place) -> Share:
    if value == "auto" or value == "none":
        share: Share = value
        return share
    if isinstance(value, bool) or not isinstance(value, int | float):
        place.fail(f"is {value!r}", f"write {_EXPECTS}")
    if not 0 < value < 1:
        place.fail(f"is {value:g}", f"write {_EXPECTS}")
    return float(value)


def _read(value: Any, place: Place) -> ThinShares:
    if isinstance(value, dict):
        return ThinShares(tasks={name: _share(one, place.at(name)) for name, one in value.items()})
    return ThinShares(_share(value, place))


THIN = Reader(_EXPECTS, _read)


def check_names(thin: ThinShares, tasks: Sequence[str], place: Place) -> None:
    """Refuse a share of what is no task.

    Raises:
        ConfigurationError: It names the key.
    """
    for name in thin.tasks:
        if name not in tasks:
            place.at("graft").at("thin").at(name).fail("is not the name of a task", nearest(name, tasks))


def parse_thin(options: Sequence[str], thin: ThinShares, tasks: Sequence[str], path: Path) -> ThinShares:
    """``--thin`` over the settings: SHARE for all tasks, or TASK=SHARE.

    Raises:
        ConfigurationError: One is no share or names no task.
    """
    for option in options:
        task, separator, given = option.rpartition("=")
        value: Any = given
        with contextlib.suppress(ValueError):
            value = float(given)
        if value not in ("auto", "none") and not (isinstance(value, float) and 0 < value < 1):
            raise ConfigurationError(f"--thin {option} is no share", "write auto, none or a number above 0 and below 1")
        if not separator:
            thin = ThinShares(value)
        elif task in tasks:
            thin = ThinShares(thin.default, {**thin.tasks, task: value})
        else:
            raise ConfigurationError(f"--thin {option} names no task of {path}", nearest(task, tasks))
    return thin
