"""The networks and data that ship with the demo, for tests and benchmarks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from multigraft.cli.shared.settings_options import load_frames
from multigraft.converters.demo.data import demo_folder
from multigraft.converters.graft.candidate import make_tail
from multigraft.converters.graft.evidence import Evidence, split
from multigraft.converters.graft.join import Join, Method
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.labelled import Labelled, load_labelled
from multigraft.converters.network.network import Network
from multigraft.converters.settings.settings import Settings

SETTINGS = demo_folder() / "multigraft.toml"


@dataclass(frozen=True)
class DemoTask:
    """One network with its unlabeled and labelled frames."""

    network: Network
    evidence: Evidence
    labelled: Labelled

    @functools.cached_property
    def own_accuracy(self) -> float:
        return self.labelled.accuracy(
            self.network.run(self.network.prepare(self.labelled.frames))[self.network.outputs[0]]
        )


@functools.cache
def demo_task(name: str) -> DemoTask:
    settings = Settings.load(SETTINGS)
    task = next(t for t in settings.tasks if t.name == name)
    path = settings.frames_of(task)
    assert path is not None and task.labelled is not None
    evidence = split(load_frames(path), settings, path)
    return DemoTask(load_task(task, SETTINGS.parent), evidence, load_labelled(task.labelled, name))


def accuracy_kept(donor: str, target: str, blocks: int, method: Method) -> float:
    """Labelled accuracy after sharing the stem and that many residual blocks, over the target's own accuracy."""
    giver, taker = demo_task(donor), demo_task(target)
    join = Join(
        donor, target, giver.network.cut_points[blocks], taker.network.cut_points[blocks], method, "independent"
    )
    tail, _, _ = make_tail(join, giver.network, taker.network, taker.evidence.fit)
    frames = giver.network.prepare(taker.labelled.frames)
    features = giver.network.run(frames, [tail.source])[tail.source].astype(np.float32)
    return taker.labelled.accuracy(tail.run(features)[0]) / taker.own_accuracy
