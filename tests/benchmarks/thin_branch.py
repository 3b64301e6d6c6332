"""A target beside the trunk of another network, whose features it reads at every depth, against frames.

``python -m tests.benchmarks thin_branch``: the demo's digits beside the trunk of its garments, three of four blocks
shared, with half of the target's weights left to itself. Beside it the refit at the same depth, and the target thinned
alone to as many weights. A settings file and names take networks of yours.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from multigraft.bundle.bundle import Bundle
from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import CALIBRATION_FRAMES
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.candidate import Candidate, costed, make_tail
from multigraft.converters.graft.evidence import load_evidence
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.graft.tail import grafted_answers
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.labelled import Labelled, load_labelled
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.settings.settings import Settings
from multigraft.converters.thinning.allot import allot
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thin, thinned_to
from multigraft.converters.thinning.tree import Tree
from tests.benchmarks.demo_networks import SETTINGS
from tests.benchmarks.reading_trunk import depths, donor_held, reading_trunk

FRAMES = (128, 256, 512, 1024, 2048)
KINDS = ("refit", "branch", "alone")
LABELS = {"refit": "refit behind the trunk", "branch": "thin branch beside it", "alone": "thinned alone"}


@dataclasses.dataclass(frozen=True)
class Point:
    """What one way keeps.

    Attributes:
        weights: The target's own.
        macs: Its own, of a frame.
        accuracy: On the labelled frames, over the original's, 0..1.
    """

    weights: int
    macs: int
    accuracy: float


class Ways:
    """A donor and a target, and what they are judged by."""

    def __init__(self, donor: Network, target: Network, labelled: Labelled, blocks: int, share: float) -> None:
        self.donor, self.target, self._labelled, self._blocks, self._share = donor, target, labelled, blocks, share
        self._own = self._accuracy_alone(target)

    def points(self, frames: Frames, branch: Candidate) -> dict[str, Point]:
        """Each of :data:`KINDS`, fitted on ``frames``, as ``branch`` was."""
        alone = thin(self.target, frames, self._share, macs=0.0).network
        cuts = self.donor.cut_points[self._blocks], self.target.cut_points[self._blocks]
        join = Join(self.donor.name, self.target.name, *cuts, "refit", "independent")
        tail, _, _ = make_tail(join, self.donor, self.target, frames)
        return {
            "refit": self._point(costed(join, tail, self.target)),
            "branch": self._point(branch),
            "alone": Point(alone.weights, alone.macs, self._accuracy_alone(alone) / self._own),
        }

    def branch(self, frames: Frames) -> Candidate:
        """The target beside the donor's trunk, thinned to its share."""
        donor, target = self.donor, self.target
        whole = reading_trunk(donor, target, depths(donor, target, self._blocks + 1))
        tree = Tree(donor, {target.name: whole}, {target.name: target})
        joined = donor_held(tree.joined(), donor)
        asked = len(donor.outputs), len(target.outputs)
        found = survey(joined, frames, outputs=(*asked, len(joined.outputs) - sum(asked)))
        left = (donor.weights + self._share * target.weights) / joined.weights
        root, grafts = tree.parted(thinned_to(found, allot(found, left, 0.0), frames).network)
        assert all((donor.constants[name] == value).all() for name, value in root.constants.items())
        return grafts[target.name]

    def in_int8(self, graft: Candidate, frames: Frames) -> Bundle:
        """The donor as it is and the target on it, as one bundle; ``frames`` set the ranges."""
        networks = [self.donor, self.target]
        plan = SharingPlan.apart(networks).with_graft(self.target, graft)
        with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder:
            given = {self.donor.input: frames[:CALIBRATION_FRAMES]}
            return convert(assemble(networks, plan), given, name="branch", work_dir=Path(folder)).bundle

    def accuracy_of(self, bundle: Bundle) -> float:
        """What a bundle keeps of the original's, 0..1."""
        answers = BundleRunner(bundle).outputs(self.target.name, self._labelled.frames)[0]
        return self._labelled.accuracy(answers) / self._own

    def _point(self, graft: Candidate) -> Point:
        answers = grafted_answers(self.donor, graft.tail, self._labelled.frames)[0]
        return Point(graft.own_weights, graft.own_macs, self._labelled.accuracy(answers) / self._own)

    def _accuracy_alone(self, network: Network) -> float:
        return self._labelled.accuracy(network.run(network.prepare(self._labelled.frames))[network.outputs[0]])


def run(arguments: Sequence[str]) -> None:
    """Print the table, and draw it where a picture is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks thin_branch", description=__doc__)
    parser.add_argument("settings", type=Path, nargs="?", default=SETTINGS)
    parser.add_argument("--donor", default="garment", help="task whose network is the trunk")
    parser.add_argument("--target", default="digit", help="task that stands beside it")
    parser.add_argument("--blocks", type=int, default=3, help="the donor's cut point to share up to, the first is 0")
    parser.add_argument("--share", type=float, default=0.5, help="of the target's weights that are left to itself")
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES, help="unlabeled, to fit on")
    parser.add_argument("--int8", type=Path, help="bundle to write of the branch fitted on the last number of frames")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    options = parser.parse_args(arguments)
    settings = Settings.load(options.settings)
    tasks = {task.name: task for task in settings.tasks}
    donor, target = (load_task(tasks[name], settings.path.parent) for name in (options.donor, options.target))
    evidence = load_evidence(settings, load_frames)[target.name]
    every = [*evidence.fit, *evidence.accept, *evidence.prove]
    labelled = tasks[target.name].labelled
    assert labelled is not None, "the target needs labelled frames"
    ways = Ways(donor, target, load_labelled(labelled, target.name), options.blocks, options.share)
    points: dict[int, dict[str, Point]] = {}
    for count in [n for n in options.frames if n <= len(every)]:
        graft = ways.branch(every[:count])
        points[count] = ways.points(every[:count], graft)
        print(count, {k: (p.weights, round(100 * p.accuracy, 2)) for k, p in points[count].items()}, flush=True)
    rows = [
        (
            str(n),
            *(f"{100 * at[k].accuracy:.2f} ({at[k].weights / 1e3:.0f} k, {at[k].macs / 1e6:.1f} M)" for k in KINDS),
        )
        for n, at in points.items()
    ]
    print_table(
        f"{target.name} beside {donor.name} up to {donor.cut_points[options.blocks].label}: % of its own accuracy kept "
        f"(own weights of {target.weights:,}, own multiply-accumulates of {target.macs:,})",
        ("frames", *LABELS.values()),
        rows,
    )
    if options.int8 is not None:
        bundle = ways.in_int8(graft, every)
        bundle.write(options.int8)
        print(f"in int8, fitted on {count} frames: {100 * ways.accuracy_of(bundle):.2f} % kept")
    if options.plot is not None:
        _draw(points, f"{target.name} beside the trunk of {donor.name}", options.plot)


def _draw(points: dict[int, dict[str, Point]], title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for kind, color in zip(KINDS, ("#b3541e", "#0b6bcb", "#5f6b76"), strict=True):
        kept = [100 * at[kind].accuracy for at in points.values()]
        weights = next(iter(points.values()))[kind].weights
        axes.plot(list(points), kept, "o-", ms=4, color=color, label=f"{LABELS[kind]}, {weights / 1e3:.0f} k weights")
    axes.set(title=title, xlabel="unlabeled frames", ylabel="% of its own accuracy", xscale="log")
    axes.set_xticks(list(points), [str(n) for n in points])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None, dpi=110)
