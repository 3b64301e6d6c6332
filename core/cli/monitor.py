"""``multigraft monitor``: live answers of a device, cycles per step, memory, statistics."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.board_options import add_timeout_argument, timeout_s
from multigraft.cli.shared.json_text import json_text

if TYPE_CHECKING:
    from multigraft.devices.target.target import Target
    from multigraft.devices.target.target_info import TargetAnswer, TargetExit
    from multigraft.firmware_gen.project.folder import ProjectFolder
    from multigraft.tensors.arrays import Array


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", required=True, help="serial port of the board")
    add_timeout_argument(parser)
    parser.add_argument("--tasks", help="comma-separated; all if left out")
    parser.add_argument("--count", type=int, default=10, help="answers to wait for (default: 10)")
    parser.add_argument("--project", type=Path, help="its folder, to name the steps")


def execute(options: argparse.Namespace) -> int:
    from multigraft.devices.target.golden import check_model
    from multigraft.devices.target.serial_link import SerialLink
    from multigraft.devices.target.target import Target

    tasks = options.tasks.split(",") if options.tasks else None
    folder = None
    if options.project is not None:
        from multigraft.firmware_gen.project.folder import ProjectFolder

        folder = ProjectFolder.open(options.project)
    with SerialLink(options.port) as link:
        target = Target(link, timeout_s=timeout_s(options))
        if folder is not None:
            check_model(target, folder.digest)
        if not options.json:
            info = target.info
            print(f"{info.board} runs {info.model} ({', '.join(info.tasks)})", flush=True)
        exits = target.exits()
        for answer in target.stream(options.count, tasks):
            _show(target, answer, options.json, exits)
        _summary(target, folder, options)
    return 0


def _show(target: Target, answer: TargetAnswer, as_json: bool, exits: Mapping[str, TargetExit]) -> None:
    if as_json:
        outputs = {name: values.ravel().tolist() for name, values in answer.outputs.items()}
        line = json_text({"outputs": outputs, "cycles": answer.cycles, "latency_us": answer.latency_us})
    else:
        left, unfilled = _left(target, answer.outputs, exits)
        given = {name: values for name, values in answer.outputs.items() if name not in unfilled}
        said = [f"{_said(name, values, target, answer.outputs)}{left.get(name, '')}" for name, values in given.items()]
        line = f"{'  '.join(said)}  {answer.cycles} cycles, {answer.latency_us} us"
    print(line, flush=True)


def _left(
    target: Target, outputs: Mapping[str, Array], exits: Mapping[str, TargetExit]
) -> tuple[dict[str, str], set[str]]:
    """Output to the exit that answered in it, in words; and the outputs of tasks with exits that are no answer."""
    names = [tensor.name for tensor in target.info.outputs]
    left, unfilled, filled = {}, set(), set()
    for exit_name, found in exits.items():
        said, early, whole = (names[place] for place in (found.said, found.output, found.whole))
        if said not in outputs:
            continue
        by = int(outputs[said].flat[0])
        unfilled |= {said, early, whole}
        if by == 0:
            filled.add(whole)
        elif by == found.number:
            filled.add(early)
            left[early] = f" by {exit_name}"
    # Another task may answer with what this one left out.
    others = {o for t, places in target.info.tasks.items() if t not in {e.task for e in exits.values()} for o in places}
    return left, unfilled - filled - {names[place] for place in others}


def _said(name: str, values: Array, target: Target, outputs: Mapping[str, Array]) -> str:
    """An output in short: the largest element and its place; where boxes lie; how many there are of what."""
    from multigraft.answers.box_rows import rows_in

    task, _, what = name.rpartition("/")
    if what == "boxes" and (boxes := rows_in(outputs, task)) is not None:
        said = [f"[{' '.join(f'{v:.0f}' for v in row[:4])}] {row[5]:.0f} ({row[4]:.2f})" for row in boxes]
        return f"{name}: {', '.join(said) or 'none'}"
    if values.dtype.name == "int32":
        return f"{name}: {int(values.flat[0])}"
    tensor = next(t for t in target.info.outputs if t.name == name)
    its = [target.info.outputs[number].name for number in target.info.tasks.get(task, ())]
    crops = [outputs[other] for other in its if other.endswith("/crops")]
    is_of_crops = what.startswith("answers") and len(crops) > 0 and values.ndim > 1
    largest = []
    for row in values[: max(0, int(crops[0].flat[0]))] if is_of_crops else [values]:
        place = int(row.argmax())
        real = (float(row.flat[place]) - tensor.zero_point) * (tensor.scale or 1.0)
        largest.append(f"{place} ({real:.3g})")
    return f"{name}: {', '.join(largest) or 'none'}"


def _summary(target: Target, folder: ProjectFolder | None, options: argparse.Namespace) -> None:
    memory, reset = target.memory(), target.reset_reason()
    steps = target.step_cycles() if target.info.measures_steps else []
    if options.json:
        statistics = {name: dataclasses.asdict(s) for name, s in target.statistics().items()}
        state = {"memory": dataclasses.asdict(memory), "reset": reset.reason.name.lower(), "steps": steps}
        told = {name: dataclasses.asdict(found) for name, found in target.exits().items()}
        print(json_text({**state, "statistics": statistics, **({"exits": told} if told else {})}))
        return
    names = folder.steps if folder is not None else ()
    for number, cycles in enumerate(steps):
        print(f"  step {number:>3} {cycles:>12} cycles  {names[number] if number < len(names) else ''}")
    if steps and folder is not None:
        _segments(folder.path, steps)
    for name, found in target.exits().items():
        counts = f"{found.taken} of {found.reached} frames took it"
        counts += f", {found.disagreed} of {found.audited} audited disagree"
        is_open = "open" if found.is_open else "closed, as it broke its promise: the whole network answers"
        print(f"exit {name} of {found.task}: {counts}; {is_open}")
    print(f"flash {memory.flash_used} of {memory.flash_there} bytes, RAM {memory.ram_used} of {memory.ram_there}")
    print(f"of it arena {memory.arena}; peak of the stack {memory.stack_peak}")
    print(f"started after: {reset.reason.name.lower().replace('_', ' ')}")


def _segments(project: Path, steps: list[int]) -> None:
    """Cycles of the steps that serve the same tasks: the trunk, and what one or some of the tasks need."""
    from multigraft.firmware_gen.inspection.report import read_report

    report = read_report(project)
    cycles: dict[str, int] = {}
    for step, count in zip(report["steps"], steps, strict=False):
        whose = "all tasks" if step["tasks"] == report["tasks"] else ", ".join(step["tasks"])
        cycles[whose] = cycles.get(whose, 0) + count
    for whose, count in cycles.items():
        print(f"  segment {count:>11} cycles  for {whose}")
