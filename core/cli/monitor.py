"""``multigraft monitor``: live answers of a device, cycles per step, memory, statistics."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft.cli.shared.board_options import add_timeout_argument, timeout_s
from multigraft.cli.shared.json_text import json_text

if TYPE_CHECKING:
    from multigraft.devices.target.target import Target
    from multigraft.devices.target.target_info import TargetAnswer
    from multigraft.firmware_gen.project.folder import ProjectFolder


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
        for answer in target.stream(options.count, tasks):
            _show(target, answer, options.json)
        _summary(target, folder, options)
    return 0


def _show(target: Target, answer: TargetAnswer, as_json: bool) -> None:
    if as_json:
        outputs = {name: values.ravel().tolist() for name, values in answer.outputs.items()}
        line = json_text({"outputs": outputs, "cycles": answer.cycles, "latency_us": answer.latency_us})
    else:
        best = []
        for name, values in answer.outputs.items():
            tensor = next(t for t in target.info.outputs if t.name == name)
            place = int(values.argmax())
            real = (float(values.ravel()[place]) - tensor.zero_point) * (tensor.scale or 1.0)
            best.append(f"{name}: {place} ({real:.3g})")
        line = f"{'  '.join(best)}  {answer.cycles} cycles, {answer.latency_us} us"
    print(line, flush=True)


def _summary(target: Target, folder: ProjectFolder | None, options: argparse.Namespace) -> None:
    memory, reset = target.memory(), target.reset_reason()
    steps = target.step_cycles() if target.info.measures_steps else []
    if options.json:
        statistics = {name: dataclasses.asdict(s) for name, s in target.statistics().items()}
        state = {"memory": dataclasses.asdict(memory), "reset": reset.reason.name.lower(), "steps": steps}
        print(json_text({**state, "statistics": statistics}))
        return
    names = folder.steps if folder is not None else ()
    for number, cycles in enumerate(steps):
        print(f"  step {number:>3} {cycles:>12} cycles  {names[number] if number < len(names) else ''}")
    if steps and folder is not None:
        _segments(folder.path, steps)
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
