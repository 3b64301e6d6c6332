"""``multigraft eval``: accuracy on labelled frames, per task, beside the original networks."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multigraft.cli.shared.engine_options import add_interpreter_arguments, chosen_tasks, tell_fallback
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.table import print_table
from multigraft.cli.shared.trust import add_trust_argument
from multigraft.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multigraft.answers.answer_format import AnswerFormat
    from multigraft.bundle.bundle import Bundle
    from multigraft.converters.network.network import Network
    from multigraft.converters.settings.settings import Settings
    from multigraft.runtime import Engine
    from multigraft.tensors.preparation import Frame

LOWEST_SCORE = 0.001
"""Average precision looks at all scores; a threshold would cut its curve off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("bundle", help="a .graft file or a deployed folder")
    parser.add_argument(
        "--labelled",
        required=True,
        type=Path,
        metavar="FILE",
        help="boxes in COCO's form (.json), or frames and labels of classes (.npz)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="the pictures of a COCO file (default: its folder)"
    )
    parser.add_argument(
        "--settings", metavar="TOML", help="the settings it was built with: the original networks are judged as well"
    )
    parser.add_argument("--tasks", metavar="A,B", help="judge these tasks only (default: all that fit the labels)")
    parser.add_argument("--no-exits", action="store_true", help="take no early exits: whole networks answer all frames")
    add_interpreter_arguments(parser)
    add_trust_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Print a row per task, or with ``--json`` the figures."""
    from multigraft.answers.own_format import OwnFormat
    from multigraft.bundle.bundle import Bundle
    from multigraft.converters.settings.settings import Settings
    from multigraft.runtime import Engine

    bundle = _with_lowest_scores(Bundle.open(options.bundle))
    settings = None if options.settings is None else Settings.load(options.settings, trusts_code=options.trust_code)
    originals = {network.name: network for network in _originals(settings)}
    own = {name: n.answer for name, n in originals.items() if isinstance(n.answer, OwnFormat)}
    engine = Engine(bundle, options.threads, options.backend, own=own, exits=not options.no_exits)
    tell_fallback(engine)
    names = list(chosen_tasks(engine.manifest, options.tasks) or (task.name for task in engine.manifest.tasks))
    judge = _of_classes if options.labelled.suffix.lower() == ".npz" else _of_boxes
    rows = judge(engine, names, originals, options)
    if not rows:
        raise UsageError(
            f"no task of {options.bundle} can be judged by {options.labelled}", "give other labels or tasks"
        )
    if options.json:
        print(json_text({"labelled": str(options.labelled), "tasks": rows}))
        return 0
    figures = [key for key in rows[0]["bundle"] if key not in ("frames", "boxes")]
    sides = [side for side in ("bundle", "original") if side in rows[0]]
    columns = ["task", *(f"{figure} {side}" for figure in figures for side in sides), "frames"]
    table = [
        [row["task"], *(f"{100 * row[side][figure]:.1f} %" for figure in figures for side in sides), row["frames"]]
        for row in rows
    ]
    print_table(str(options.labelled), columns, [list(map(str, row)) for row in table])
    return 0


def _with_lowest_scores(bundle: Bundle) -> Bundle:
    tasks = bundle.manifest.tasks
    return bundle.with_tasks(dataclasses.replace(task, answer=_of_all_scores(task.answer)) for task in tasks)


def _of_all_scores(answer: AnswerFormat | None) -> AnswerFormat | None:
    return None if answer is None else dataclasses.replace(answer, score_threshold=LOWEST_SCORE)


def _originals(settings: Settings | None) -> Iterator[Network]:
    from multigraft.answers.own_format import OwnFormat
    from multigraft.converters.importing.importer import load_task

    if settings is None:
        return
    for task in settings.tasks:
        network = load_task(task, settings.path.parent, trusts_code=settings.trusts_code)
        if not isinstance(network.answer, OwnFormat):
            network.answer = _of_all_scores(network.answer)
        yield network


def _of_boxes(
    engine: Engine, names: list[str], originals: dict[str, Network], options: argparse.Namespace
) -> list[Any]:
    from multigraft.answers.detections import Detections
    from multigraft.converters.evaluation.coco_figures import coco, detection_figures
    from multigraft.converters.evaluation.coco_labels import read_coco
    from multigraft.converters.network.cut_frames import detections_of

    coco()
    labels = read_coco(options.labelled, options.images)
    tasks = [engine.manifest.task(name) for name in names]
    names = [t.name for t in tasks if t.on is None and (t.answer is not None or t.name in engine.own)]
    found: dict[str, dict[int, Detections]] = {name: {} for name in names}
    originals = {name: network for name, network in originals.items() if name in names}
    before: dict[str, dict[int, Detections]] = {name: {} for name in originals}
    for image, path in labels.images.items():
        frame = _picture(path)
        for name, answer in engine.run(frame, names or None).answers.items():
            if name in found and isinstance(answer, Detections):
                found[name][image] = answer
        for name, network in originals.items():
            before[name][image] = detections_of(network, [frame])[0]
    rows = []
    for name in names:
        if not found[name]:
            continue
        task = engine.manifest.task(name)
        ids = () if task.answer is None else task.answer.category_ids
        figures = detection_figures(labels, found[name], task.labels, ids)
        row = {"task": name, "frames": figures.images, "boxes": figures.boxes, "bundle": _shares(figures.to_json())}
        if name in before:
            row["original"] = _shares(detection_figures(labels, before[name], task.labels, ids).to_json())
        rows.append(row)
    return rows


def _shares(figures: dict[str, Any]) -> dict[str, float]:
    return {key: figures[key] for key in ("map", "map50", "map75")}


def _picture(path: Path) -> Frame:
    from multigraft.devices.cameras.sources import open_source

    with open_source(str(path)) as camera:
        return next(iter(camera))


def _of_classes(
    engine: Engine, names: list[str], originals: dict[str, Network], options: argparse.Namespace
) -> list[Any]:
    from multigraft.converters.network.labelled import load_labelled
    from multigraft.runtime.answers import Classification
    from multigraft.tensors.preparation import row_shape

    rows = []
    for name in names:
        task = engine.manifest.task(name)
        if task.kind != "classification" or task.on is not None or task.answer is not None:
            continue
        labelled = load_labelled(options.labelled, name, row_shape(engine.manifest.inputs_of(name)[0].preprocessing))
        # Labelled frames do not follow each other, so that there is no last one to repeat the answer of.
        answers = [engine.run(frame, [name], exits=not task.repeats).answers[name] for frame in labelled.frames]
        right = sum(
            isinstance(a, Classification) and a.index == label
            for a, label in zip(answers, labelled.labels, strict=True)
        )
        row: dict[str, Any] = {"task": name, "frames": len(answers), "bundle": {"accuracy": right / len(answers)}}
        if name in originals:
            network = originals[name]
            logits = network.run(network.prepare(labelled.frames))[network.outputs[0]]
            row["original"] = {"accuracy": labelled.accuracy(logits)}
        rows.append(row)
    return rows
