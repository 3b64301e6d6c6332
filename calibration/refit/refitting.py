"""The closed-form refit on the device, layer by layer: frames are run, added to sums and forgotten.

What a layer receives depends on the weights of those before it. So every layer takes a pass over frames of its own (of
a file the same ones, of a camera new ones) with the layers before it solved: the grafted and the original network run
side by side, what the layer receives and shall give goes into the normal equations, and their solution goes into the
model. A last pass over frames that no layer was fitted on measures agreement. Nothing else is kept; the store holds
sums and solved weights, so that the same command resumes.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multigraft.agreement.agreement import agreement
from multigraft.bundle.bundle import Bundle
from multigraft.calibration.blas_check import check_products
from multigraft.calibration.database import remove_database
from multigraft.calibration.defaults import ACCEPTED_FRAMES, REFIT_FRAMES
from multigraft.calibration.refit.refit_model import RefitModel
from multigraft.calibration.refit.refit_store import Progress, RefitStore, bytes_of, check_arrays, restored
from multigraft.calibration.refit.stage_solver import StageSolver
from multigraft.calibration.stop_signals import stop_signals
from multigraft.calibration.views import Cutter
from multigraft.devices.cameras.camera import Camera
from multigraft.devices.cameras.sources import LIVE_CAMERAS
from multigraft.errors import InputError, UsageError
from multigraft.refit.refit_plan import PlannedGraft, Refit, SolvedGraft
from multigraft.runtime.backends import BackendName
from multigraft.statistics.minimum_frames import MINIMUM_FRAMES
from multigraft.tensors.arrays import Array
from multigraft.tensors.preparation import Frame

STORE_SUFFIX = ".refitting"
LEAST_ACCEPTED = 16
"""Fewer frames than these show no agreement worth a figure."""

CHECKPOINT_S = 30.0
"""Seconds of work that a power cut may cost: the sums of a wide layer are some MiB, too much for every minibatch."""


@dataclass(frozen=True)
class RefitOptions:
    """How to refit.

    Attributes:
        frames: Frames that every layer is solved from; a source that ends sooner gives fewer.
        accept: Frames behind those, on which agreement is measured, at most.
        minimum_frames: Fewer are refused.
        every: Use one frame of so many.
        confidence: Probability that the agreement bound holds.
        seed: Picks the positions where a layer has too many.
        threads: Threads for the kernels.
        backend: Which interpreter.
        checkpoint_s: Seconds between two writes of the store.
    """

    frames: int = REFIT_FRAMES
    accept: int = ACCEPTED_FRAMES
    minimum_frames: int = MINIMUM_FRAMES
    every: int = 1
    confidence: float = 0.95
    seed: int = 0
    threads: int = 1
    backend: BackendName = "auto"
    checkpoint_s: float = CHECKPOINT_S

    def __post_init__(self) -> None:
        if self.minimum_frames < 2 or self.every < 1 or self.accept < 0:
            raise UsageError("a number of frames is too small", "give positive numbers, and a minimum of 2 or more")
        if self.frames < self.minimum_frames:
            raise UsageError(
                f"{self.frames} frames are fewer than the minimum of {self.minimum_frames}", "refit on more frames"
            )


@dataclass(frozen=True)
class RefitEvent:
    """What is shown while refitting: task, layer, passes finished of all, frames of this pass of all of it."""

    target: str
    layer: str
    passes_done: int
    passes: int
    frames: int
    frames_wanted: int


OnRefitEvent = Callable[[RefitEvent], None]


def refit_on_device(
    bundle: Bundle, camera: Camera, output: Path, options: RefitOptions, report: OnRefitEvent = lambda event: None
) -> Refit | None:
    """Solve all grafts of a refit bundle and write ``output``; the same call resumes.

    Args:
        bundle: From ``multigraft calibrate plan``.
        camera: Not yet opened. A file is read once per pass.
        output: The .mgrefit file; the store lies beside it until it is written.
        options: How.
        report: Called after every frame.

    Returns:
        What was written; None if it was stopped by a signal.

    Raises:
        BundleError: It is no refit bundle.
        UsageError: Another process is at it, or the store belongs to another plan, source or options.
        DeviceError: The camera does not answer, the disk is full, or numpy multiplies wrongly.
        InputError: A frame cannot be used, there are too few, or the store is damaged.
    """
    check_products()
    model = RefitModel(bundle, options.threads, options.backend)
    path = output.with_name(output.name + STORE_SUFFIX)
    facts = {
        "model": bundle.manifest.files["model.tflite"].sha256,
        "source": camera.name,
        "options": json.dumps([options.frames, options.accept, options.every, options.seed, options.minimum_frames]),
    }
    with RefitStore(path, facts) as store, stop_signals() as stop, camera:
        refit = _Run(model, camera, store, options, report, stop).all()
        if refit is None:
            return None
        refit.write(output)
    remove_database(path)
    return refit


class _StoppedError(Exception):
    """A signal came."""


class _Run:
    def __init__(
        self,
        model: RefitModel,
        camera: Camera,
        store: RefitStore,
        options: RefitOptions,
        report: OnRefitEvent,
        stop: list[int],
    ) -> None:
        self._model, self._camera, self._store = model, camera, store
        self._options, self._report, self._stop = options, report, stop
        self._is_live = isinstance(camera, LIVE_CAMERAS)
        self._live: Iterator[Frame] | None = None
        progress, arrays = store.load(model.plan, self._most_bytes())
        self._frames = progress.frames or options.frames
        self._solved, self._layers = list(progress.solved), list(progress.layers)
        self._weights = {k.removeprefix("weight:"): v for k, v in arrays.items() if k.startswith("weight:")}
        self._pending = {k.removeprefix("solver:"): v for k, v in arrays.items() if k.startswith("solver:")}
        self._check_loaded()
        self._saved_s = time.monotonic()
        self._passes = sum(
            StageSolver(s, model.layer(s), self._frames, 0).rounds for g in model.plan.grafts for s in g.stages
        )
        self._done = progress.passes
        model.replace(self._weights)

    def _most_bytes(self) -> int:
        """Bytes of the largest state there can be."""
        stages = [stage for graft in self._model.plan.grafts for stage in graft.stages]
        largest = max(
            (bytes_of(StageSolver(s, self._model.layer(s), self._options.frames, 0).state(True)) for s in stages),
            default=0,
        )
        return largest + sum(bytes_of(self._model.weights(stage)) for stage in stages)

    def _check_loaded(self) -> None:
        """What was loaded has to be the solved layers' weights, and at most the sums of one more layer."""
        grafts = self._model.plan.grafts
        stages = [stage for graft in grafts[: len(self._solved)] for stage in graft.stages]
        if self._layers:
            stages += grafts[len(self._solved)].stages[: len(self._layers)]
        wanted = {k: v for stage in stages for k, v in self._model.weights(stage).items()}
        check_arrays(self._weights, wanted, self._store.path)

    def all(self) -> Refit | None:
        """Every graft that is not solved yet."""
        try:
            for graft in self._model.plan.grafts[len(self._solved) :]:
                self._solve(graft)
        except _StoppedError:
            return None
        return Refit(tuple(self._solved), self._model.plan.sources, self._options.minimum_frames, self._weights)

    def _solve(self, graft: PlannedGraft) -> None:
        for number, stage in enumerate(graft.stages[len(self._layers) :], len(self._layers)):
            solver = StageSolver(stage, self._model.layer(stage), self._frames, self._options.seed + number)
            if self._pending:
                restored(solver, self._pending, self._store.path)
                self._pending = {}
            networks = self._model.open(graft)
            while not solver.is_done:
                for frame in self._pass(graft, solver):
                    solver.add(networks.run(frame))
                    self._report(
                        RefitEvent(graft.target, stage.layer, self._done, self._passes, solver.seen, self._frames)
                    )
                    self._between(solver)
                self._settle(solver)
                try:
                    solver.finish_pass()
                except np.linalg.LinAlgError as error:
                    raise InputError(
                        f"{stage.layer} cannot be solved from its sums ({error})",
                        f"remove {self._store.path} to start anew",
                    ) from error
                self._done += 1
            layer, weights = solver.solved()
            self._layers.append(layer)
            self._weights |= weights
            self._model.replace(weights)
            self._save(None)
        shown = self._agreement(graft)
        self._solved.append(
            SolvedGraft(
                graft.target, graft.donor, graft.donor_point, graft.target_point, graft.method, graft.relation,
                tuple(self._layers), self._frames, graft.cka, shown, graft.kept,
            )
        )  # fmt: skip
        self._layers = []
        self._save(None)

    def _chosen(self, graft: PlannedGraft) -> Iterator[Frame]:
        """What a graft's networks look at: frames of the source, or one crop of each frame in which some are found."""
        cutter = self._model.cutters.get(graft.target)
        return self._unread() if cutter is None else _one_of_each(self._unread(), cutter)

    def _unread(self) -> Iterator[Frame]:
        """Frames of the source: of a file from its start, of a camera from now on."""
        if not self._is_live:
            return itertools.islice(self._camera, 0, None, self._options.every)
        if self._live is None:
            self._live = itertools.islice(self._camera, 0, None, self._options.every)
        return self._live

    def _pass(self, graft: PlannedGraft, solver: StageSolver) -> Iterator[Frame]:
        """The frames that this pass has not seen yet."""
        done = solver.seen
        return itertools.islice(
            self._chosen(graft), *((self._frames - done,) if self._is_live else (done, self._frames))
        )

    def _settle(self, solver: StageSolver) -> None:
        """The first pass tells how many frames there are."""
        if solver.seen == self._frames:
            return
        needed = self._frames if self._done else self._options.minimum_frames
        if self._done or solver.seen < needed:
            raise InputError(
                f"{self._camera.name} gave {solver.seen} frames, and {needed} are needed", "give a source with more"
            )
        self._frames = solver.frames = solver.seen

    def _between(self, solver: StageSolver) -> None:
        """Between two frames: stop, or write the store, when it is time."""
        if self._stop:
            self._save(solver)
            raise _StoppedError
        if time.monotonic() - self._saved_s >= self._options.checkpoint_s:
            self._save(solver)

    def _save(self, solver: StageSolver | None) -> None:
        progress = Progress(self._frames, self._done, tuple(self._solved), tuple(self._layers))
        arrays: dict[str, Array] = {f"weight:{k}": v for k, v in self._weights.items()}
        if solver is not None:
            arrays |= {f"solver:{k}": v for k, v in solver.state().items()}
        self._store.save(progress, arrays)
        self._saved_s = time.monotonic()

    def _agreement(self, graft: PlannedGraft) -> dict[str, Any] | None:
        """Grafted with original on frames that no layer was fitted on."""
        networks = self._model.open(graft)
        start = 0 if self._is_live else self._frames
        rows: list[list[Array]] = []
        for frame in itertools.islice(self._chosen(graft), start, start + self._options.accept):
            tensors = networks.run(frame)
            rows.append([tensors[o][0].copy() for o in (*graft.outputs, *graft.grafted_outputs)])
            self._report(
                RefitEvent(graft.target, "agreement", self._done, self._passes, len(rows), self._options.accept)
            )
            if self._stop:
                raise _StoppedError
        if len(rows) < LEAST_ACCEPTED:
            return None
        stacked = [np.stack(output) for output in zip(*rows, strict=True)]
        half = len(graft.outputs)
        shown = agreement(
            graft.kind, stacked[:half], stacked[half:],
            confidence=self._options.confidence, tolerance=graft.tolerance,
        )  # fmt: skip
        return shown.to_json()


def _one_of_each(frames: Iterator[Frame], cutter: Cutter) -> Iterator[Frame]:
    """A crop of each frame, its boxes in turn: several of a frame would be one sample, not several."""
    for number, frame in enumerate(frames):
        if crops := cutter.crops(frame):
            yield crops[number % len(crops)]
