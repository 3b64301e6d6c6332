"""Inferences that clients ask for: one user of the engine at a time, and camera frames first."""

from __future__ import annotations

import json
import queue
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from multigraft.bundle.manifest import Manifest
from multigraft.errors import BundleError, InputError
from multigraft.runtime.engine import Engine
from multigraft.runtime.frames import blank_frames
from multigraft.runtime.http.tensors import DATATYPES
from multigraft.tensors.arrays import Array
from multigraft.tensors.preprocessing import Preprocessing

MOST_WAITING = 8
"""Requests; a further one is told to come again."""
SHARE = 0.1
"""Of the time that frames take, where there is always one waiting: what requests may take of it."""


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        model: A task, or the bundle.
        inputs: By name.
        outputs: Those wanted.
        answer: Is given what became of it.
    """

    model: str
    inputs: dict[str, Array]
    outputs: tuple[str, ...]
    answer: Callable[[dict[str, Any]], None]


class Requests:
    """A short queue, served between frames by the loop itself.

    Args:
        engine: Is used by the thread that calls :meth:`serve`.
        counts: Is told what became of requests.
        clock: Seconds, monotonic.
    """

    def __init__(self, engine: Engine, counts: Counter[str], clock: Callable[[], float] = time.perf_counter) -> None:
        self._engine, self._counts, self._clock = engine, counts, clock
        self._queue: queue.Queue[Asked] = queue.Queue(MOST_WAITING)
        self._credit_s = 0.0
        self._whole = _bundle_model(engine.manifest)
        self._slowest_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return self._queue.empty()

    def put(self, asked: Asked) -> None:
        """Take a request in, or answer that there are too many; from any thread."""
        try:
            self._queue.put_nowait(asked)
        except queue.Full:
            self._counts["busy"] += 1
            asked.answer({"busy": True})

    def earned(self, frame_s: float) -> None:
        """A frame took that long: a part of it may go to requests."""
        self._credit_s = min(self._credit_s + SHARE * frame_s, self._slowest_s)

    def serve(self, has_frame: Callable[[], bool]) -> bool:
        """Serve one request, if one waits and no frame does, or if frames have left enough time; whether one was."""
        if self._queue.empty() or (has_frame() and self._credit_s < self._slowest_s):
            return False
        is_in_the_way = has_frame()
        begin = self._clock()
        asked = self._queue.get_nowait()
        try:
            answer: dict[str, Any] = {"outputs": self._answer(asked)}
            self._counts["answered"] += 1
        except (InputError, BundleError) as error:
            answer = {"refused": str(error)}
            self._counts["refused"] += 1
        except Exception as error:
            answer = {"refused": f"the interpreter failed ({error})"}
            self._counts["failed"] += 1
        took = self._clock() - begin
        self._slowest_s = max(self._slowest_s * 0.9, took)
        if is_in_the_way:
            self._credit_s -= took
        asked.answer(answer)
        return True

    def _answer(self, asked: Asked) -> dict[str, Any]:
        manifest = self._engine.manifest
        if asked.model != self._whole:
            computed = self._engine.compute(asked.inputs, (asked.model,))
            return {name: computed[name] for name in asked.outputs}
        frame: Any = asked.inputs.get("frame")
        tasks = tuple(task.name for task in manifest.tasks if task.name in asked.outputs)
        if frame is None:
            frame, tasks = asked.inputs, tuple(name for name in tasks if name in asked.inputs)
        # What clients send is not what exits are promised for: it is to close none.
        answers = self._engine.run(frame, tasks, exits=False).answers
        return {name: [json.dumps(answers[name].to_json())] if name in answers else [] for name in asked.outputs}

    def models(self) -> list[dict[str, Any]]:
        """What the Open Inference Protocol says of each model: the bundle, then its tasks."""
        return [_of_bundle(self._engine.manifest, self._whole), *_of_tasks(self._engine.manifest)]


def _bundle_model(manifest: Manifest) -> str:
    names = {task.name for task in manifest.tasks}
    name = manifest.name.replace("/", "-") or "bundle"
    while name in names:
        name += "-bundle"
    return name


def _of_tasks(manifest: Manifest) -> list[dict[str, Any]]:
    described = []
    for task in manifest.tasks:
        inputs = [source.tensor for source in manifest.inputs_of(task.name)]
        described.append(
            {
                "name": task.name,
                "platform": "multigraft_task",
                "inputs": [_tensor(manifest, name) for name in inputs],
                "outputs": [_tensor(manifest, name) for name in task.outputs],
                "parameters": {"kind": task.kind, "labels": _json_list(task.labels)},
            }
        )
    return described


def _json_list(texts: tuple[str, ...]) -> str:
    """Texts as one: a parameter of the protocol is a text, a number or a truth value."""
    return json.dumps(list(texts), ensure_ascii=False)


def _tensor(manifest: Manifest, name: str) -> dict[str, Any]:
    spec = manifest.tensor(name)
    told: dict[str, Any] = {"name": name, "datatype": DATATYPES[spec.dtype], "shape": list(spec.shape)}
    if spec.scale is not None:
        told["parameters"] = {"scale": spec.scale, "zero_point": spec.zero_point}
    return told


def _of_bundle(manifest: Manifest, name: str) -> dict[str, Any]:
    frames = blank_frames(manifest)
    by_name = frames if isinstance(frames, dict) else {"frame": frames}
    pictures = {task.name for task in manifest.tasks if _sees(manifest, task.name)}
    inputs: list[dict[str, Any]] = []
    for key, frame in by_name.items():
        is_picture = key in pictures or (key == "frame" and bool(pictures))
        told: dict[str, Any] = {
            "name": key,
            "datatype": DATATYPES[np.asarray(frame).dtype.name],
            "shape": [-1, -1, 3] if is_picture else list(np.shape(frame)),
        }
        inputs.append({**told, "parameters": {"grey": "or height x width"}} if is_picture else told)
    return {
        "name": name,
        "platform": "multigraft_bundle",
        "inputs": inputs,
        "outputs": [{"name": task.name, "datatype": "BYTES", "shape": [1]} for task in manifest.tasks],
        "parameters": {"answers": "JSON"},
    }


def _sees(manifest: Manifest, task: str) -> bool:
    return isinstance(manifest.inputs_of(task)[0].preprocessing, Preprocessing)
