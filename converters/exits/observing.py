"""What heads are fitted on: every candidate's pooled tensor and the logits, of the joined graph in float.

A head of the finished bundle reads its features in int8. Where few of them differ much and the others little, what
tells classes apart may lie below one step of that, and a head fitted on floats hangs on what it will never see. So
features are rounded as they will be: a plan is honest then, and the ridge does not rely on what is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.bundle.manifest import Task
from multigraft.converters.conversion.boundary_tensors import OnnxRunner
from multigraft.converters.conversion.interpreters import Arrays
from multigraft.converters.exits.heads import Rows, as_stored, grids_of, pooled
from multigraft.converters.exits.places import Place, Places
from multigraft.converters.exits.planning import Candidate
from multigraft.converters.job.over_frames import over_frames
from multigraft.converters.job.progress import Report
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.leading_nodes import part_of
from multigraft.converters.network.multitask import MultiTaskModel
from multigraft.tensors.preparation import Preparation, prepare_frames

TOLD_EVERY = 500


def observe(
    multitask: MultiTaskModel, places: Places, task: Task, chosen: Sequence[Place], frames: Frames, report: Report
) -> tuple[list[Candidate], Rows]:
    """Candidates with their features, as int8 holds them, and the logits (frames, classes) of the whole network.

    Args:
        multitask: The joined graph, float.
        places: Of that graph.
        task: A classification.
        chosen: Which places to look at.
        frames: Unlabeled frames of the task.
        report: Takes a line now and then.
    """
    source, preparation = _input_of(multitask, task)
    logits_name = places.logits_of(task)
    names = [logits_name, *(place.tensor for place in chosen)]
    model = part_of(multitask.model, source, names)
    options = [(place, grid) for place in chosen for grid in grids_of(place.shape)]

    def worker() -> _Pooling:
        return _Pooling(OnnxRunner(model, names), logits_name, options)

    feeds = ({source: prepare_frames([frame], preparation)} for frame in frames)
    rows: list[list[Rows]] = [[] for _ in options]
    logits = []
    for number, (answer, features) in enumerate(over_frames(worker, feeds), 1):
        logits.append(answer)
        for row, feature in zip(rows, features, strict=True):
            row.append(feature)
        if number % TOLD_EVERY == 0:
            report(f"exits of {task.name}: looked at {number:,} of {len(frames):,} frames")
    pairs = zip(options, rows, strict=True)
    return [Candidate(place, grid, as_stored(np.stack(row))) for (place, grid), row in pairs], np.stack(logits)


class _Pooling:
    """Runs the graph on a frame, for one thread."""

    def __init__(self, runner: OnnxRunner, logits: str, options: Sequence[tuple[Place, int]]) -> None:
        self._runner = runner
        self._logits = logits
        self._options = options

    def __call__(self, feed: Arrays) -> tuple[Rows, list[Rows]]:
        values = self._runner(feed)
        features = [pooled(values[place.tensor][0], grid) for place, grid in self._options]
        return values[self._logits].reshape(-1).astype(np.float32), features


def _input_of(multitask: MultiTaskModel, task: Task) -> tuple[str, Preparation]:
    read = {name for s in multitask.segments if s.name in task.segments for name in s.inputs}
    return next((name, p) for name, p in multitask.inputs.items() if name in read)
