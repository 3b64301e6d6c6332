"""The steps of a cascade between those of its networks: views of the frame, boxes, and a loop over crops.

The arena's planner knows nothing of loops: buffers that are in use over a whole loop are told to it so by
:func:`over_loops`. What a network computes of one crop is free again for the next one, and all crops together take no
more memory than one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multigraft.answers import box_rows
from multigraft.firmware_gen.cascades.cascade import Cascade, Stage, View
from multigraft.firmware_gen.cascades.finder import CANDIDATE_BYTES, Finder
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.kernel import Kernel
from multigraft.firmware_gen.kernels.lowered_step import LoweredStep
from multigraft.firmware_gen.program.program import Node, Program, Step
from multigraft.tflite.graph import Op, Tensor

_RESIZE = {
    "stretch": "MG_STRETCH",
    "fit": "MG_FIT",
    "fill": "MG_FILL",
    "corner": "MG_CORNER",
    "line": "MG_LINE",
}


@dataclass(frozen=True)
class Woven:
    """A program as it is with its cascade.

    Attributes:
        program: Its inputs are the frame and what no frame is needed for; its tasks answer for all crops.
        steps: In running order.
        needs: Bits of tasks, and of the tasks whose boxes these need; the last stage first.
    """

    program: Program
    steps: list[LoweredStep]
    needs: tuple[tuple[int, int], ...]


def frame_of(cascade: Cascade, program: Program) -> Tensor:
    """The input that the frame is."""
    shape = (1, cascade.height, cascade.width, cascade.channels)
    return named_apart("frame", program, Tensor("", shape, "uint8"))


def named_apart(name: str, program: Program, tensor: Tensor) -> Tensor:
    """The tensor, called so that no tensor of the program has its name."""
    while name in program.tensors:
        name += "_"
    return replace(tensor, name=name)


def inputs_of(cascade: Cascade | None, program: Program) -> tuple[Tensor, ...]:
    """What has to be given: the frame, and what is not made of it; without a cascade, the program's own inputs."""
    if cascade is None:
        return program.inputs
    seen = {view.tensor for view in cascade.views}
    return (frame_of(cascade, program), *(t for t in program.inputs if t.name not in seen))


def outputs_of(cascade: Cascade, program: Program) -> dict[str, tuple[Tensor, ...]]:
    """Task to what it answers with in firmware."""
    taken = {*program.tensors, frame_of(cascade, program).name}

    def named(name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        while name in taken:
            name += "_"
        taken.add(name)
        return replace(like, name=name, shape=shape, data=None)

    real, whole = Tensor("", (), "float32"), Tensor("", (), "int32")
    made: dict[str, tuple[Tensor, ...]] = {}
    for stage in cascade.stages:
        on = stage.on
        crops = () if on is None else (named(f"{on.task}/crops", (1 + on.top,), whole),)
        for number in stage.tasks:
            task = program.tasks[number]
            if number in cascade.finders:
                boxes = named(f"{task.name}/boxes", (cascade.most_boxes(number), box_rows.NUMBERS), real)
                made[task.name] = (*crops, named(f"{task.name}/count", (1,), whole), boxes)
            elif on is None:
                made[task.name] = tuple(program.tensors[name] for name in task.outputs)
            else:
                several = len(task.outputs) > 1
                kept = [
                    named(f"{task.name}/answers{k if several else ''}", (on.top, *raw.shape[1:]), raw)
                    for k, raw in enumerate(program.tensors[name] for name in task.outputs)
                ]
                made[task.name] = (*crops, *kept)
    return made


def weave(cascade: Cascade, program: Program, steps: Sequence[LoweredStep], places: Mapping[str, str]) -> Woven:
    """Put the steps of a cascade between those of its networks.

    Args:
        cascade: What is asked of the frame.
        program: What was lowered.
        steps: Its steps, views resolved.
        places: Tensor to the buffer it lies in, for those that lie in another's.
    """
    frame = frame_of(cascade, program)
    outputs = outputs_of(cascade, program)
    weaver = _Weaver(cascade, program, outputs, frame, places)
    for stage in cascade.stages:
        weaver.add_stage(stage, [s for s in steps if s.step.tasks & stage.mask])
    tasks = tuple(
        replace(task, outputs=tuple(t.name for t in outputs[task.name]), joined=task.joined if _as_is(task.outputs,
                outputs[task.name]) else ())
        for task in program.tasks
    )  # fmt: skip
    woven = replace(
        program,
        inputs=inputs_of(cascade, program),
        tasks=tasks,
        tensors={**program.tensors, **{t.name: t for made in outputs.values() for t in made}},
    )
    needs = tuple((stage.mask, cascade.needed(stage)) for stage in reversed(cascade.stages) if stage.on is not None)
    return Woven(woven, weaver.steps, needs)


def _as_is(before: Sequence[str], now: Sequence[Tensor]) -> bool:
    return list(before) == [t.name for t in now]


def over_loops(steps: Sequence[LoweredStep], first: dict[str, int], last: dict[str, int]) -> None:
    """Buffers that are in use before or after a loop, and within it, are in use over all of it.

    Args:
        steps: With their loops.
        first: Buffer to the first step it is in use; changed.
        last: Buffer to the last one; changed.
    """
    start = 0
    for index in range(1, len(steps) + 1):
        if index < len(steps) and steps[index].repeat == steps[start].repeat:
            continue
        if steps[start].repeat:
            begin, end = start, index - 1
            for name in first:
                if first[name] < begin <= last[name]:
                    last[name] = max(last[name], end)
                if last[name] > end >= first[name]:
                    first[name] = min(first[name], begin)
        start = index


class _Weaver:
    def __init__(
        self,
        cascade: Cascade,
        program: Program,
        outputs: Mapping[str, tuple[Tensor, ...]],
        frame: Tensor,
        places: Mapping[str, str],
    ) -> None:
        self.steps: list[LoweredStep] = []
        self._cascade, self._program, self._outputs, self._places = cascade, program, outputs, places
        self._frame = frame
        self._started = named_apart("started", program, Tensor("", (1,), "int32"))

    def add_stage(self, stage: Stage, steps: Sequence[LoweredStep]) -> None:
        manifest, on = self._cascade.manifest, stage.on
        names = {number: self._program.tasks[number].name for number in stage.tasks}
        found: tuple[Tensor, ...] = ()
        repeat = ""
        if on is not None:
            count, boxes = self._outputs[on.task][-2:]
            crops = self._outputs[names[stage.tasks[0]]][0]
            found, repeat = (boxes, crops), crops.name
            self._add(
                "CHOOSE", stage.mask, (count, boxes), (crops,), _choose(self._classes(on.task, on.labels), on.top)
            )
            self._clear(stage)
            if on.deadline_us is not None:
                late = _late(int(on.deadline_us))
                self._add("IN TIME", stage.mask, (self._started,), (crops,), late, repeat)
        elif watched := [s.mask for s in self._cascade.stages if s.on is not None and s.on.deadline_us is not None]:
            self._add("CLOCK", functools.reduce(operator.or_, watched), (), (self._started,), _clock())
        for view in stage.views:
            readers = [n for n, name in names.items() if view.tensor in {i.tensor for i in manifest.inputs_of(name)}]
            mask = sum(1 << n for n in readers)
            made = (self._program.tensors[view.tensor],)
            label = "VIEW" if on is None else "CROP"
            self._add(label, mask, (self._frame, *found), made, self._prepare(view, on is not None), repeat)
        self.steps += [replace(s, repeat=repeat) for s in steps]
        if on is None:
            self._clear(stage)
        for number, name in names.items():
            raw = [self._program.tensors[n] for n in self._program.tasks[number].outputs]
            if number in self._cascade.finders:
                finder = self._cascade.finders[number]
                kernel = self._find(finder, self._cascade.seen_by(number), len(raw), on is not None)
                self._add("BOXES", 1 << number, (*raw, *found), self._outputs[name][-2:], kernel, repeat)
            elif on is not None:
                for one, kept in zip(raw, self._outputs[name][1:], strict=True):
                    self._add("KEEP", 1 << number, (one,), (kept,), _keep(one.stored_bytes), repeat)

    def _clear(self, stage: Stage) -> None:
        """Before anything is found: what is not filled is 0."""
        for number in stage.tasks:
            outputs = self._outputs[self._program.tasks[number].name]
            made = outputs[1:] if stage.on is not None else outputs if number in self._cascade.finders else ()
            for one in made:
                self._add("CLEAR", 1 << number, (), (one,), _clear(one.stored_bytes))

    def _add(
        self, label: str, mask: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor], kernel: Kernel,
        repeat: str = "",
    ) -> None:  # fmt: skip
        reads, writes = tuple(t.name for t in inputs), tuple(t.name for t in outputs)
        node = Node(Op("CUSTOM", reads, writes, custom_code=label), tuple(inputs), tuple(outputs))
        placed = tuple(self._places.get(n, n) for n in reads)
        self.steps.append(LoweredStep(Step(node, mask), kernel, placed, writes, repeat))

    def _classes(self, task: str, labels: Sequence[str]) -> list[int] | None:
        """Words of a bit for each class of a detector that is looked at; None for all."""
        if not labels:
            return None
        finder = self._cascade.finders[self._cascade.number(task)]
        known = finder.task.labels
        chosen = [n for n in range(finder.classes) if (known[n] if n < len(known) else str(n)) in labels]
        words = [0] * -(-finder.classes // 32)
        for number in chosen:
            words[number // 32] |= 1 << number % 32
        return words

    def _prepare(self, view: View, is_crop: bool) -> Kernel:
        name, text = view_text(view, self._frame.shape[1:])

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            part = _part(name, ins[1:] if is_crop else None)
            return (
                f"{{\n    mg_part part;\n    {part};\n"
                f"    mg_prepare(&{name}, {constants}, {ins[0]}, &part, {outs[0]});\n}}"
            )

        return Kernel(call, ("real.h", "crop.h"), {name: text}, view.stored.tobytes())

    def _find(self, finder: Finder, view: View, count: int, is_crop: bool) -> Kernel:
        name, text = view_text(view, self._frame.shape[1:])

        def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
            part = _part(name, ins[count:] if is_crop else None)
            return (
                f"{{\n    mg_part part;\n    const int8_t *const found[] = {{{', '.join(ins[:count])}}};\n"
                f"    const int32_t number = {part};\n"
                f"    mg_find(&{finder.name}, found, {constants}, &{name}, &part, number, {outs[1]}, {outs[0]},"
                f" {scratch});\n}}"
            )

        functions = {name: text, finder.name: finder.text}
        constant = finder.constant or np.zeros(1, np.float32).tobytes()
        return Kernel(call, ("real.h", "crop.h", "boxes.h"), functions, constant, CANDIDATE_BYTES * finder.capacity)


def view_text(view: View, frame: Sequence[int]) -> tuple[str, str]:
    """Name and definition of a ``mg_view`` of frames of that height, width and number of channels."""
    seen = view.preprocessing
    resize = _RESIZE[seen.resize]
    sizes = (seen.height, seen.width, seen.channels, *frame)
    ways = (resize, int(seen.interpolation == "nearest"), int(seen.color == "bgr"))
    padding = f"{{{', '.join(map(str, view.padding))}}}"
    body = ", ".join(map(str, (*sizes, *ways, padding, float(view.margin).hex())))
    name = f"view_{digest(body)}"
    return name, f"static const mg_view {name} = {{{body}}};\n"


def _part(view: str, crop: Sequence[str] | None) -> str:
    return f"mg_part_of(&{view}, {f'{crop[0]}, {crop[1]}, at' if crop is not None else 'NULL, NULL, 0'}, &part)"


def _choose(classes: list[int] | None, top: int) -> Kernel:
    name, functions = "NULL", {}
    if classes is not None:
        body = ", ".join(f"{word:#x}u" for word in classes)
        name = f"classes_{digest(body)}"
        functions = {name: f"static const uint32_t {name}[] = {{{body}}};\n"}
    return Kernel(
        lambda ins, outs, *_: f"mg_choose({ins[1]}, {ins[0]}, {name}, {top}, {outs[0]});",
        ("real.h", "crop.h"),
        functions,
    )


def _clock() -> Kernel:
    """Notes when the frame began."""
    text = "__attribute__((weak)) uint32_t model_microseconds(void)\n{\n    return 0;\n}\n"

    def call(ins: Sequence[str], outs: Sequence[str], scratch: str, constants: str) -> str:
        return f"{{\n    const uint32_t now = model_microseconds();\n    memcpy({outs[0]}, &now, sizeof now);\n}}"

    return Kernel(call, functions={"model_microseconds": text})


def _late(limit: int) -> Kernel:
    """Leaves the loop once the deadline has passed."""
    return Kernel(
        lambda ins, outs, *_: f"if (mg_late(model_microseconds(), {ins[0]}, {limit}u, at, {outs[0]}))\n    break;"
    )


def _clear(size: int) -> Kernel:
    return Kernel(lambda ins, outs, *_: f"memset({outs[0]}, 0, {size});")


def _keep(size: int) -> Kernel:
    return Kernel(lambda ins, outs, *_: f"memcpy({outs[0]} + {size} * at, {ins[0]}, {size});")
