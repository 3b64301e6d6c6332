"""What firmware with a cascade has to answer to a frame, bit for bit: multigraft's own decoders and crops in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from multigraft.answers.box_rows import rows_of
from multigraft.answers.crops import crop
from multigraft.answers.detections import Detections, no_detections
from multigraft.answers.families.table import decoder_of
from multigraft.answers.family import Decoder, channels_first
from multigraft.answers.per_box import gathered
from multigraft.answers.placement import Placement
from multigraft.bundle.bundle import GOLDEN_INPUTS, Bundle
from multigraft.errors import MultigraftError
from multigraft.firmware_gen.cascades.cascade import Cascade, Stage
from multigraft.firmware_gen.cascades.weaving import frame_of, outputs_of
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.program.program import Program
from multigraft.npz import read_npz
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import joined_outputs
from multigraft.tensors.preparation import Preparer, preparer_for

Picture = npt.NDArray[np.uint8]
_CASES = 8


class CascadeReference:
    """Answers frames as the generated C does.

    Args:
        cascade: What is asked.
        program: What was loaded, as :func:`multigraft.firmware_gen.cascades.cascade.cascade_of` got it.
    """

    def __init__(self, cascade: Cascade, program: Program) -> None:
        self._cascade, self._program = cascade, program
        self._outputs = outputs_of(cascade, program)
        self._frame = frame_of(cascade, program).name
        specs = cascade.manifest.tensor
        self._preparers: dict[str, Preparer] = {
            view.tensor: preparer_for(view.preprocessing, specs(view.tensor)) for view in cascade.views
        }
        self._decoders: dict[int, Decoder] = {
            number: decoder_of(finder.task.answer, finder.task.labels)
            for number, finder in cascade.finders.items()
            if finder.task.answer is not None
        }

    def answers(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Stored outputs by name.

        Args:
            inputs: Stored inputs by name: the frame, uint8, and those that no frame is needed for.
        """
        frame: Picture = inputs[self._frame].reshape(self._cascade.height, self._cascade.width, -1)
        if self._cascade.channels == 1:
            frame = frame[:, :, 0]
        others = {name: array for name, array in inputs.items() if name != self._frame}
        made: dict[str, Array] = {}
        found: dict[int, Detections] = {}
        for stage in self._cascade.stages:
            if stage.on is None:
                raw = self._run(stage, frame, others)
                for number in stage.tasks:
                    made |= {name: raw[name] for name in self._program.tasks[number].outputs}
                    if number in self._decoders:
                        seen = self._cascade.seen_by(number).preprocessing
                        placement = Placement.of_frame(seen, frame.shape)
                        found[number] = self._decoded(number, raw).placed(placement)
            else:
                self._look(stage, frame, made, found)
        for number, detections in found.items():
            count, boxes = self._outputs[self._program.tasks[number].name][-2:]
            made |= {boxes.name: rows_of(detections, boxes.shape[0]), count.name: np.array([len(detections)], np.int32)}
        return {t.name: made[t.name] for outputs in self._outputs.values() for t in outputs}

    def _look(self, stage: Stage, frame: Picture, made: dict[str, Array], found: dict[int, Detections]) -> None:
        """Ask the tasks of a stage of each box."""
        on = stage.on
        assert on is not None
        boxes = found[self._cascade.number(on.task)]
        numbers = on.numbers(boxes)
        said: list[dict[str, Array]] = []
        inner: dict[int, list[Detections]] = {number: [] for number in stage.tasks if number in self._decoders}
        for number in numbers:
            part, place = crop(frame, boxes, number, on)
            said.append(self._run(stage, part, {}))
            for task, answers in inner.items():
                within = Placement.of_frame(self._cascade.seen_by(task).preprocessing, part.shape)
                answers.append(self._decoded(task, said[-1]).placed(within).placed(place))
        for task in stage.tasks:
            name = self._program.tasks[task].name
            crops = self._outputs[name][0]
            made[crops.name] = np.zeros(crops.shape, np.int32)
            made[crops.name][: len(numbers) + 1] = [len(numbers), *numbers]
            if task in inner:
                joined = gathered(on.task, numbers, inner[task])
                found[task] = joined if isinstance(joined, Detections) else no_detections()
                continue
            for raw, kept in zip(self._program.tasks[task].outputs, self._outputs[name][1:], strict=True):
                made[kept.name] = np.zeros(kept.shape, kept.dtype)
                for row, one in enumerate(said):
                    made[kept.name][row] = one[raw][0]

    def _run(self, stage: Stage, picture: Picture, others: Mapping[str, Array]) -> dict[str, Array]:
        inputs = dict(others)
        for view in stage.views:
            tensor = self._program.tensors[view.tensor]
            inputs[view.tensor] = np.empty(tensor.shape, np.int8)
            self._preparers[view.tensor].fill(picture, inputs[view.tensor])
        steps = tuple(s for s in self._program.steps if s.tasks & stage.mask)
        tasks = tuple(self._program.tasks[number] for number in stage.tasks)
        return evaluate(replace(self._program, steps=steps, tasks=tasks), inputs)

    def _decoded(self, number: int, raw: Mapping[str, Array]) -> Detections:
        task = self._cascade.finders[number].task
        specs = [self._cascade.manifest.tensor(name) for name in task.outputs]
        arrays = [raw[name] for name in task.outputs]
        outputs = [channels_first(o[0]) for o in joined_outputs(task.joined, specs, arrays)]
        return cast(Detections, self._decoders[number](outputs))


def golden_frames(
    bundle: Bundle, cascade: Cascade, program: Program, seed: int = 0
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Frames and what has to be answered, by tensor name; first axis = case, in order.

    The frames are those that the bundle's golden inputs were made of, as far as their bytes tell, and noise.
    """
    random = np.random.default_rng(seed)
    shape = (1, cascade.height, cascade.width, cascade.channels)
    frames = random.integers(0, 256, (_CASES, *shape), np.uint8)
    known = _golden_pictures(bundle, cascade)[: _CASES - 2]
    frames[: len(known)] = known
    inputs: dict[str, Array] = {frame_of(cascade, program).name: frames}
    seen = {view.tensor for view in cascade.views}
    for tensor in program.inputs:
        if tensor.name not in seen:
            values = random.normal(0, 40, (_CASES, *tensor.shape))
            inputs[tensor.name] = np.clip(values, -128, 127).astype(tensor.dtype)
    reference = CascadeReference(cascade, program)
    rows = [reference.answers({name: array[case] for name, array in inputs.items()}) for case in range(_CASES)]
    return inputs, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _golden_pictures(bundle: Bundle, cascade: Cascade) -> Array:
    """Frames that the golden inputs of the first detector may have been made of, resized where the frame has another
    size; none where the bundle has none.
    """
    view = cascade.seen_by(next(n for n in cascade.finders if cascade.manifest.tasks[n].on is None))
    seen, size = view.preprocessing, (cascade.height, cascade.width, cascade.channels)
    try:
        stored = read_npz(bundle.read(GOLDEN_INPUTS)).get(view.tensor)
    except (MultigraftError, KeyError, ValueError):
        stored = None
    shape = (seen.height, seen.width, seen.channels)
    if stored is None or stored.dtype != np.int8 or not stored.size or stored.size % math.prod(shape):
        return np.empty((0, 1, *size), np.uint8)
    cases = stored.reshape(-1, *shape)
    # Several pixels may be stored as one value: any of them is as good.
    every = np.arange(-128, 128)
    pixels = [np.abs(plane.astype(np.int16)[:, None] - every).argmin(axis=0).astype(np.uint8) for plane in view.stored]
    pictures = np.stack([p[cases[..., c].astype(np.int16) + 128] for c, p in enumerate(pixels)], axis=-1)
    if seen.color == "bgr":
        pictures = pictures[..., ::-1]
    rows, columns = (np.arange(n) * side // n for n, side in zip(size[:2], shape[:2], strict=True))
    frames: Array = pictures[:, rows][:, :, columns].repeat(size[2] // shape[2], axis=3)
    return frames[:, None]
