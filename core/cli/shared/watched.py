"""Figures of a command that answers frames, for whoever is told of them beside its output."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multigraft.runtime import Engine
    from multigraft.runtime.service.figures import Figures
    from multigraft.runtime.service.vitals import Vitals


@dataclass(frozen=True)
class Watched:
    """Figures of the answers, and of the machine: one reader of a power meter, which may not bear two."""

    figures: Figures
    vitals: Vitals


@contextlib.contextmanager
def watched(engine: Engine, tasks: tuple[str, ...] | None, is_wanted: bool) -> Iterator[Watched | None]:
    """The figures, until the block is left; None if nobody wants them."""
    if not is_wanted:
        yield None
        return
    from multigraft.runtime.service.figures import Figures
    from multigraft.runtime.service.power import Power
    from multigraft.runtime.service.vitals import Vitals

    vitals = Vitals(Power())
    vitals.start()
    try:
        figures = Figures(engine.manifest, tasks)
        figures.exits = engine.exits_to_json
        yield Watched(figures, vitals)
    finally:
        vitals.stop()


def digest_of_bundle(engine: Engine) -> str:
    """SHA-256 of what an engine answers with; "" of a bundle that was never a file."""
    from multigraft.runtime.service.serving import digest_of

    return "" if engine.bundle.path is None else digest_of(engine.bundle.path)
