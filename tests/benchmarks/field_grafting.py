"""Grafting the demo with frames, by the refit on the device, and from a statistics file alone: agreement side by side.

All see the same 512 frames per task and are judged on the same held-out ones, in float32, before conversion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.calibration.collect.collect_options import CollectOptions
from multigraft.calibration.collect.collector import collect
from multigraft.calibration.refit.refitting import RefitOptions, refit_on_device
from multigraft.cli.shared.settings_options import load_frames
from multigraft.cli.shared.table import print_table
from multigraft.converters.build import graft
from multigraft.converters.field.refit_bundle import make_refit_bundle
from multigraft.converters.field.refitted_candidates import grafts_of
from multigraft.converters.field.statistics_input import similarity_from_statistics
from multigraft.converters.field.taps_bundle import make_taps_bundle
from multigraft.converters.graft.candidate import Candidate, evaluate
from multigraft.converters.graft.frameless import plan_without_frames
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.search import SearchOptions
from multigraft.converters.graft.sharing_plan import Limits
from multigraft.converters.job.progress import terminal_report
from multigraft.converters.network.frames import Frames
from multigraft.converters.settings.settings import Settings
from multigraft.devices.cameras.array_file import ArrayFile
from multigraft.statistics import statistics_file
from multigraft.statistics.statistics import Statistics
from tests.benchmarks.demo_networks import SETTINGS, DemoTask, demo_task

NAMES = ("garment", "worn", "digit")


def show(folder: Path) -> None:
    """Print the table."""
    tasks = {name: demo_task(name) for name in NAMES}
    networks = [t.network for t in tasks.values()]
    rows = []
    with terminal_report() as report:
        chosen = graft(Settings.load(SETTINGS), load_frames, report).outcome.chosen.grafts
        report("collect statistics")
        field = _statistics(tasks, folder)
        similarity = similarity_from_statistics(field, networks)
        alone = plan_without_frames(networks, similarity, Limits(0.98), {}, None, dict.fromkeys(NAMES, field))
        points = {name: c.join.donor_point.label for name, c in chosen.items()}
        forced = plan_without_frames(networks, similarity, Limits(0.98), points, None, dict.fromkeys(NAMES, field))
        for name, with_frames in chosen.items():
            task, donor = tasks[name], tasks[with_frames.join.donor]
            join = with_frames.join
            rows.append(_row("with frames", with_frames, donor, task))
            refitted = dataclasses.replace(join, method="refit") if join.method == "raw" else join
            if refitted is not join:
                again = evaluate(refitted, donor.network, task.network, task.evidence)
                rows.append(_row("with frames, refit", again, donor, task))
            report(f"refit {name} on the device")
            rows.append(_row("refit on the device", _on_device(refitted, tasks, folder / name), donor, task))
            if name in alone.chosen.grafts:
                rows.append(_row("statistics alone", alone.chosen.grafts[name], donor, task))
            else:
                rows.append((name, "statistics alone", "unshared", "", "", ""))
                rows.append(_row("statistics alone, share asked for", forced.chosen.grafts[name], donor, task))
    held_out = " or ".join(sorted({f"{len(t.evidence.accept):,}" for t in tasks.values()}))
    print_table(
        f"The demo on the trunk of {with_frames.join.donor}: agreement on {held_out} held-out frames (lower bound at "
        f"95 %), accuracy on {len(task.labelled.labels):,} labelled ones, fitted on 512 frames per task; float32",
        ("task", "grafted", "shares up to", "method", "agreement", "accuracy"),
        rows,
    )


def _statistics(tasks: Mapping[str, DemoTask], folder: Path) -> Statistics:
    """The frames that the other ways are fitted on, garments and digits in turn."""
    both = [tasks[n].evidence.fit for n in ("garment", "digit")]
    np.save(folder / "fit.npy", np.stack([frame for pair in zip(*both, strict=True) for frame in pair]))
    work = folder / "taps"
    work.mkdir()
    bundle = make_taps_bundle([t.network for t in tasks.values()], "taps", work)
    collect(bundle, ArrayFile(folder / "fit.npy"), folder / "demo.mgstats", CollectOptions())
    return statistics_file.read(folder / "demo.mgstats")


def _on_device(join: Join, tasks: Mapping[str, DemoTask], folder: Path) -> Candidate:
    folder.mkdir()
    networks, evidence = [t.network for t in tasks.values()], tasks[join.target].evidence
    bundle = make_refit_bundle(networks, [join], "refit", folder)
    np.save(folder / "frames.npy", np.stack([*evidence.fit, *evidence.accept]))
    options = RefitOptions(len(evidence.fit), len(evidence.accept))
    refitted = refit_on_device(bundle, ArrayFile(folder / "frames.npy"), folder / "site.mgrefit", options)
    assert refitted is not None
    return grafts_of(refitted, networks, {}, SearchOptions())[join.target]


def _row(how: str, graft_: Candidate, donor: DemoTask, task: DemoTask) -> tuple[str, ...]:
    join, frames = graft_.join, task.labelled.frames
    shown = graft_.agreement or _measured(graft_, donor, task)
    accuracy = task.labelled.accuracy(_answers(graft_, donor, frames)[0])
    kept = f"{100 * accuracy:.2f} of {100 * task.own_accuracy:.2f} %"
    share = f"{100 * shown.value:.2f} % ({100 * shown.lower_bound:.2f} %)"
    return join.target, how, join.donor_point.label, join.method, share, kept


def _measured(graft_: Candidate, donor: DemoTask, task: DemoTask) -> Agreement:
    answers = _answers(graft_, donor, task.evidence.accept)
    return agreement(task.network.kind, task.evidence.answers(task.network), answers)


def _answers(graft_: Candidate, donor: DemoTask, frames: Frames) -> list[npt.NDArray[Any]]:
    source = graft_.tail.source
    features = donor.network.run(donor.network.prepare(frames), [source])[source]
    return graft_.tail.run(features.astype(np.float32))
