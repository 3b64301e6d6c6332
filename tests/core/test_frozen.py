"""Values that several hold at a time are never changed: their classes are frozen."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

from multigraft import agreement, bundle, refit, statistics

CHANGED_IN_PLACE = {
    "multigraft.refit.few_rows.FewRows",
    "multigraft.refit.ridge.RidgeSums",
    "multigraft.statistics.tally.Terms",
}


def test_dataclasses_are_frozen_but_for_those_that_sum() -> None:
    names = ["multigraft.serial_protocol"]
    for package in (agreement, bundle, refit, statistics):
        names += [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    changeable = set()
    for name in names:
        for kind in vars(importlib.import_module(name)).values():
            if isinstance(kind, type) and kind.__module__ == name and dataclasses.is_dataclass(kind):
                # Without __init__: what is looked at is whether an attribute can be set at all.
                try:
                    setattr(object.__new__(kind), dataclasses.fields(kind)[0].name, None)
                    changeable.add(f"{name}.{kind.__name__}")
                except dataclasses.FrozenInstanceError:
                    pass
    assert changeable == CHANGED_IN_PLACE
