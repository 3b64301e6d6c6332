"""Frame by frame: what a server answers in time stands in for the local answer, and every answer says whose it is.

The local answer is there before a server is asked, so that a frame always has one. A server that fails costs a frame
its deadline at most, three frames in a row at most, and then nothing until it answers again.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from multigraft.bundle.manifest import Manifest
from multigraft.bundle.offload_choice import OffloadChoice
from multigraft.errors import MultigraftError
from multigraft.runtime.answers import Answer, Classification
from multigraft.runtime.engine import Engine
from multigraft.runtime.offload.bit_depth import BitDepth
from multigraft.runtime.offload.circuit_breaker import CircuitBreaker
from multigraft.runtime.offload.exchange import ExchangeError
from multigraft.runtime.offload.inference_client import InferenceClient, NotAnsweredError
from multigraft.runtime.offload.packet import Packet
from multigraft.runtime.offload.remote_task import RemoteTask, cut_of
from multigraft.runtime.offload.wire import model_names, wire_tensors
from multigraft.tensors.preparation import Frame

RETRIES = 2
FIRST_PAUSE_S = 0.02
Sends = Literal["any", "chosen", "cut", "input"]
CHOSEN_LOCAL = "faster here, as was found at the build"
_BUDGET_SHARE = 0.5
"""Of a deadline that a request may take before it is sent in fewer bits."""


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from.

    Attributes:
        is_remote: Whether from the server.
        why: Why it is the local one; empty otherwise.
        bits: Of a value on the wire.
        bytes_sent: Of the packed values.
        seconds: From the request to the answer.
        cut: The tensor that travelled; empty where none did.
        has_failed: The server was to be asked, and gave nothing.
    """

    is_remote: bool
    why: str = ""
    bits: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    cut: str = ""
    has_failed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        if not self.is_remote:
            return {"from": "local", "why": self.why}
        figures = {"bits": self.bits, "bytes": self.bytes_sent, "ms": round(self.seconds * 1e3, 2)}
        return {"from": "server", **figures}


class Offloading:
    """Asks a server for answers of some tasks. Not for use from several threads at once.

    Args:
        engine: Runs the bundle here.
        tasks: Which may be asked for.
        client: The server.
        deadline_s: Of a frame, seconds from its begin.
        below: Ask where the local answer's score is below, 0 to 1; None for all frames.
        bits: Of a value; None lets the link decide.
        sends: What travels: the tensor at a ``cut`` point, the ``input``, whichever the server has a model for (the cut
            before the input), or what the build has ``chosen``: a task that it chose to keep here is not asked for, and
            one that it chose nothing for sends any.
        breaker: Makes what says when the server is left alone, a task.

    Attributes:
        ends: Answers by where they came from: ``server``, or why they are local ones.
    """

    def __init__(
        self,
        engine: Engine,
        tasks: Sequence[str],
        client: InferenceClient,
        deadline_s: float,
        below: float | None = None,
        bits: int | None = None,
        sends: Sends = "any",
        breaker: Callable[[], CircuitBreaker] = CircuitBreaker,
    ) -> None:
        self._engine, self._client, self._below = engine, client, below
        self.deadline_s = deadline_s
        manifest = engine.manifest
        choices = {name: manifest.task(name).offload if sends == "chosen" else None for name in tasks}
        asked = [name for name, choice in choices.items() if choice is None or not choice.is_local]
        self._sends = {name: _sent(manifest, name, choices[name], sends) for name in asked}
        self._depths = {name: _depth(deadline_s, bits, choices[name]) for name in asked}
        self._tasks: dict[str, RemoteTask | None] = dict.fromkeys(asked)
        self._breakers = {name: breaker() for name in asked}
        self._stay = frozenset(tasks) - frozenset(asked)
        self.ends: Counter[str] = Counter()

    def reach(self) -> None:
        """Look now which models the server has, in place of with the first frame.

        Raises:
            ExchangeError: It cannot be reached, or has none for a task.
            UsageError: Its model reads no tensor of this bundle.
        """
        for name in self._tasks:
            self._tasks[name] = self._found(name, time.monotonic() + self.deadline_s)

    @property
    def bytes_sent(self) -> int:
        """Of bodies of all requests that the client has sent so far, whoever else asks by it."""
        return self._client.bytes_sent

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def improve(
        self,
        frames: Mapping[str, Frame],
        answers: dict[str, Answer],
        begun: float,
        exits: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Answer], dict[str, Origin]]:
        """The answers, with those of the server where it gave them.

        Args:
            frames: Task to the frame that the engine has just answered.
            answers: The local ones.
            begun: When the frame began, of :func:`time.monotonic`, seconds.
            exits: Tasks that left early, as :attr:`~multigraft.runtime.result.Result.exits` has them; they stay local.

        Returns:
            As many answers, and per task that may be asked for its origin.
        """
        better, origins = dict(answers), dict[str, Origin]()
        kept = dict.fromkeys(self._stay, CHOSEN_LOCAL) | self._kept(answers) | dict.fromkeys(exits or (), "early exit")
        for name in [task for task in (*self._tasks, *self._stay) if task in answers]:
            if why := kept.get(name):
                origins[name] = Origin(False, why)
                self.ends[why] += 1
                continue
            answer, origin = self._told(name, frames[name], answers[name], begun + self.deadline_s)
            if answer is not None:
                better[name] = answer
            origins[name] = origin
            self.ends["server" if origin.is_remote else origin.why] += 1
        return better, origins

    def _kept(self, answers: Mapping[str, Answer]) -> dict[str, str]:
        """Tasks that stay local, and why: what was asked of their boxes, or ran after them, fits no other answer."""
        tasks, found = self._engine.manifest.tasks, dict[str, str]()
        for asked in (task for task in tasks if task.on is not None and task.name in answers):
            assert asked.on is not None
            found[asked.on.task] = "others look at its boxes"
            # Segments that ran for boxes no longer hold what they made of the frame.
            shared = (other.name for other in tasks if set(other.segments) & set(asked.segments))
            found |= dict.fromkeys(shared, "runs for boxes, too")
        return found

    def _told(self, name: str, frame: Frame, local: Answer, deadline: float) -> tuple[Answer | None, Origin]:
        if self._below is not None and isinstance(local, Classification) and local.score >= self._below:
            return None, Origin(False, "sure enough")
        breaker = self._breakers[name]
        if breaker.is_open:
            return None, Origin(False, "server left alone after failures", has_failed=True)
        begun = time.monotonic()
        try:
            told, packet = self._retried(name, frame, deadline)
        except MultigraftError as error:
            breaker.failed()
            if isinstance(error, NotAnsweredError) and not error.may_pass:
                self._tasks[name] = None  # Exported anew, it may read another tensor.
            if time.monotonic() >= deadline:
                self._depths[name].missed()
            return None, Origin(False, error.problem, has_failed=True)
        seconds = time.monotonic() - begun
        breaker.succeeded()
        self._depths[name].answered(seconds)
        return told, Origin(True, "", packet.bits, packet.packed.nbytes, seconds, packet.tensor)

    def _asked(self, name: str, frame: Frame, deadline: float) -> tuple[Answer, Packet]:
        task = self._tasks[name]
        if task is None:
            task = self._tasks[name] = self._found(name, deadline)
        packet = task.packet(frame, self._depths[name].bits)
        outputs = self._client.infer(task.model, wire_tensors(packet), task.outputs, deadline)
        return task.answer(outputs, frame), packet

    def _found(self, name: str, deadline: float) -> RemoteTask:
        manifest = self._engine.manifest
        refusal: NotAnsweredError | None = None
        behind, whole = model_names(manifest, name)
        for model in {"cut": (behind,), "input": (whole,)}.get(self._sends[name], (behind, whole)):
            try:
                inputs = self._client.inputs_of(model, deadline)
            except NotAnsweredError as error:
                if error.may_pass:
                    raise
                refusal = refusal or error
            else:
                return RemoteTask(self._engine, name, cut_of(manifest, name, inputs))
        assert refusal is not None
        raise refusal

    def _retried(self, name: str, frame: Frame, deadline: float) -> tuple[Answer, Packet]:
        """Ask again where that may help and there is time for it."""
        pause_s = FIRST_PAUSE_S
        for _ in range(RETRIES):
            try:
                return self._asked(name, frame, deadline)
            except ExchangeError as error:
                is_final = isinstance(error, NotAnsweredError) and not error.may_pass
                # Devices that lost one server at one moment do not come back to it at one moment.
                pause_s *= 1 + random.random()
                if is_final or time.monotonic() + pause_s >= deadline:
                    raise
            time.sleep(pause_s)
        return self._asked(name, frame, deadline)


def _sent(manifest: Manifest, task: str, choice: OffloadChoice | None, sends: Sends) -> Sends:
    if choice is None:
        return "any" if sends == "chosen" else sends
    return "input" if choice.cut == manifest.inputs_of(task)[0].tensor else "cut"


def _depth(deadline_s: float, bits: int | None, choice: OffloadChoice | None) -> BitDepth:
    if bits is not None:
        return BitDepth(deadline_s, bits, bits)
    return BitDepth(deadline_s * _BUDGET_SHARE, first=choice.bits if choice is not None else None)
