"""A refit of two small networks: its plan, its store on the device, and the file that comes home."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.calibration.refit.refitting import STORE_SUFFIX, RefitEvent, RefitOptions, refit_on_device
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.refitted_candidates import grafts_of
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.network.network import Network
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.refit.refit_plan import Refit
from tests.attack.trials import apart
from tests.converters.graft.networks import frames, residual_network

OPTIONS = RefitOptions(frames=32, accept=20)


@functools.cache
def networks() -> tuple[Network, ...]:
    """Donor and target."""
    return residual_network("first", 1), residual_network("same", 2)


@functools.cache
def _plan() -> bytes:
    return apart(lambda: {"plan": _made_plan()})["plan"]


def _made_plan() -> bytes:
    donor, target = networks()
    join = Join("first", "same", donor.cut_points[0], target.cut_points[0], "refit", "independent", 0.9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return make_refit_bundle(networks(), (join,), "plan", folder).write(folder / "p").read_bytes()


class _StoppedError(Exception):
    pass


def _refit(folder: Path, plan: bytes, stops_after: int = 0) -> Path:
    """Refit in ``folder``; stopped as by a power cut after so many frames."""
    np.save(folder / "frames.npy", np.stack(frames(60)))
    (folder / "p.mgplan").write_bytes(plan)
    seen = []

    def report(event: RefitEvent) -> None:
        seen.append(event)
        if len(seen) == stops_after:
            raise _StoppedError

    options = RefitOptions(OPTIONS.frames, OPTIONS.accept, checkpoint_s=0.0) if stops_after else OPTIONS
    camera = ArrayFile(folder / "frames.npy")
    with contextlib.suppress(_StoppedError):
        refit_on_device(Bundle.open(folder / "p.mgplan"), camera, folder / "a.mgrefit", options, report)
    return folder / "a.mgrefit"


def planned(folder: Path) -> dict[str, bytes]:
    """The plan."""
    return {"plan": _plan()}


def begun(folder: Path) -> Callable[[bytes], object]:
    """Opens a plan and refits all of it."""

    def run(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            _refit(Path(name), data)

    return run


def stored(folder: Path) -> dict[str, bytes]:
    """Stores that a power cut left in the first pass, in a later one and after the first layer."""
    plan = _plan()

    def make() -> dict[str, bytes]:
        made = {}
        for stops_after in (20, 50, 200):
            store = folder / f"a.mgrefit{STORE_SUFFIX}"
            _refit(folder, plan, stops_after)
            made[f"{stops_after} frames"] = _whole(store)
            store.unlink()
        return made

    return apart(make)


def _whole(path: Path) -> bytes:
    """One file, without the log beside it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    return path.read_bytes()


def resumed(folder: Path) -> Callable[[bytes], object]:
    """Goes on with a store until it has been written once more."""
    np.save(folder / "frames.npy", np.stack(frames(60)))
    (folder / "p.mgplan").write_bytes(_plan())
    output = folder / "a.mgrefit"

    def run(data: bytes) -> None:
        output.with_name(output.name + STORE_SUFFIX).write_bytes(data)
        refit_on_device(Bundle.open(folder / "p.mgplan"), ArrayFile(folder / "frames.npy"), output, OPTIONS)

    return run


def solved(folder: Path) -> dict[str, bytes]:
    """The file that comes home."""
    plan = _plan()
    return apart(lambda: {"refit": _refit(folder, plan).read_bytes()})


def opened(folder: Path) -> Callable[[bytes], object]:
    """Reads solved weights and makes candidates of a build from them, without frames."""
    path = folder / "a.mgrefit"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        for candidate in grafts_of(Refit.open(path), networks(), {}, SearchOptions()).values():
            assert candidate is not None

    return run
