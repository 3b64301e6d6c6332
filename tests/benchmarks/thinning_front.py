"""How well a network of a settings file answers at several shares of its MACs, beside channels chosen by magnitude.

``python -m tests.benchmarks.thinning_front multigraft.toml --shares 0.75 0.5``: the widths are those that multigraft
chooses, for all three, so that costs are equal. ``narrowed`` drops the channels of least norm and solves nothing,
``solved`` solves every layer after that, ``thinned`` is what multigraft does. With ``--int8``, that is converted, too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import CALIBRATION_FRAMES
from multigraft.converters.graft.assemble import assemble
from multigraft.converters.graft.evidence import load_evidence
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.importing.importer import load_task
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.labelled import load_labelled
from multigraft.converters.network.network import Network
from multigraft.converters.packing.convert import convert
from multigraft.converters.packing.fidelity import BundleRunner
from multigraft.converters.settings.settings import Settings
from multigraft.converters.thinning.allot import allot
from multigraft.converters.thinning.channels import Channels
from multigraft.converters.thinning.narrow import Indices, kept_places, narrowed, weight_axes
from multigraft.converters.thinning.resolve import resolved
from multigraft.converters.thinning.survey import survey
from multigraft.converters.thinning.thin import thin
from multigraft.tensors.arrays import Array


def by_magnitude(network: Network, group: Channels, width: int) -> Indices:
    """The channels whose weights have the largest norms (Li and others, arXiv 1608.08710)."""
    norms = np.zeros(group.count)
    for index in group.makers:
        node = network.nodes[index]
        weight = np.moveaxis(network.constants[node.input[1]], weight_axes(node)[1], 0)
        norms += np.abs(weight.reshape(group.count, -1)).sum(1)
    return np.sort(np.argsort(-norms)[:width])


def in_int8(network: Network, frames: Frames) -> BundleRunner:
    """The network alone as an int8 bundle; ``frames`` set the ranges."""
    model = assemble([network], SharingPlan({}, 0, 0))
    with tempfile.TemporaryDirectory(prefix="multigraft-bench-") as folder:
        given = {network.input: frames[:CALIBRATION_FRAMES]}
        return BundleRunner(convert(model, given, name=network.name, work_dir=Path(folder)).bundle)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.9, 0.75, 0.6, 0.5, 0.4])
    parser.add_argument("--labelled", type=int, default=4000, help="labelled frames")
    parser.add_argument("--int8", action="store_true", help="what is thinned in int8, too")
    options = parser.parse_args()
    settings = Settings.read(options.settings)
    task = settings.tasks[0]
    network = load_task(task, settings.path.parent)
    evidence = load_evidence(settings, load_frames)[task.name]
    labelled = load_labelled(task.labelled, task.name) if task.labelled else None
    judged = [*evidence.accept, *evidence.prove]
    held = network.prepare(judged)
    output = network.outputs[0]
    was = network.run(held)[output].argmax(1)
    given = labelled.frames[: options.labelled] if labelled else []
    prepared = network.prepare(given) if given else None

    def cell(agreed: Array, answers: Array | None) -> str:
        share = f"{100 * (agreed.argmax(1) == was).mean():.2f}"
        if labelled is None or answers is None:
            return share
        return f"{100 * (answers.argmax(1) == labelled.labels[: options.labelled]).mean():.2f} / {share}"

    def shown(made: Network) -> str:
        return cell(made.run(held)[output], None if prepared is None else made.run(prepared)[output])

    def quantised(made: Network) -> list[str]:
        if not options.int8:
            return []
        runner = in_int8(made, evidence.fit)
        agreed = runner.outputs(task.name, judged)[0]
        return [cell(agreed, runner.outputs(task.name, given)[0] if given else None)]

    found, rows = survey(network, evidence.fit), [("1.000", "1.000", *[shown(network)] * 3, *quantised(network))]
    print(rows[-1], flush=True)
    for share in options.shares:
        widths = allot(found, share)
        largest = [by_magnitude(network, g, w) for g, w in zip(found.groups, widths, strict=True)]
        kept = kept_places(network, found.groups, largest)
        plain = narrowed(network, found.groups, largest)
        solved, _ = resolved(network, plain, kept, evidence.fit)
        made = thin(network, evidence.fit, share, found=found).network
        costs = f"{made.macs / network.macs:.3f}", f"{made.weights / network.weights:.3f}"
        rows.append((*costs, shown(plain), shown(solved), shown(made), *quantised(made)))
        print(rows[-1], flush=True)
    print_table(
        f"{task.name}: {'accuracy / ' if labelled else ''}agreement, % of {len(held)} held-out frames, fitted on "
        f"{len(evidence.fit)}",
        ("MACs", "weights", "narrowed", "solved", "thinned", *(["int8"] if options.int8 else [])),
        rows,
    )


if __name__ == "__main__":
    main()
