"""A loop seen from outside: its figures and its latest frame, over HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from multigraft.bundle.manifest import Manifest
from multigraft.runtime.drawing.words import words
from multigraft.runtime.result import Result
from multigraft.runtime.service.asked import Asked, Requests
from multigraft.runtime.service.figures import Figures
from multigraft.runtime.service.front import Answer, Front, Question
from multigraft.runtime.service.vitals import Vitals
from multigraft.tensors.preparation import Frame
from multigraft.visible import visible

STALE_S = 10.0
"""The least that a loop is given for a frame before it is said not to be well."""

MOST_SAID = 400
"""Letters of a sentence from the HTTP process, which strangers talk to."""


class Window:
    """Answers the HTTP process's questions.

    Args:
        listening: Where HTTP is spoken; None for nowhere.
        bundle: ``name`` and ``sha256`` of what is served.
        source: The camera, in words.
        manifest: Of the bundle.
        figures: The loop's counters.
        vitals: The machine's readings.
        requests: Inferences that clients ask for; None where they may not.
        cameras: How each does, as :meth:`~multigraft.runtime.service.frames.Frames.to_json` tells it.
        token: What clients have to know.
        say: Is told when the HTTP process had to be started again.
        exported: Is told in a sentence when an OpenTelemetry collector takes no figures any more, and when it does
            again; None where none is told anything.
        stale_s: A loop whose last frame is older is not well.
    """

    def __init__(
        self,
        listening: socket.socket | None,
        *,
        bundle: Mapping[str, str],
        source: str,
        manifest: Manifest,
        figures: Figures,
        vitals: Vitals,
        requests: Requests | None,
        cameras: Callable[[], list[dict[str, Any]]],
        token: str | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        exported: Callable[[bool, str], None] | None = None,
        stale_s: float = STALE_S,
    ) -> None:
        self._stale_s = stale_s
        self._bundle, self._source, self._token, self._cameras = dict(bundle), source, token, cameras
        self._manifest, self._figures, self._vitals, self._requests = manifest, figures, vitals, requests
        self._exported, self._started_ns = exported, time.time_ns()
        self._last: tuple[int, dict[str, Frame], Result] | None = None
        self._answers: dict[str, Any] = {}
        questions: dict[str, Question] = {
            "alive": lambda header, body, answer: answer(True),
            "settings": lambda header, body, answer: answer(self.settings()),
            "exporting": self._exporting,
            "figures": lambda header, body, answer: answer(self.to_json()),
            "models": lambda header, body, answer: answer(requests.models() if requests is not None else []),
            "picture": lambda header, body, answer: answer(self.picture()),
            "infer": self._infer,
        }
        self._front = Front(listening, questions, say)

    def __enter__(self) -> Window:
        self._front.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._front.stop()

    def show(self, frames: dict[str, Frame], result: Result) -> None:
        """Keep the latest frame.

        Args:
            frames: Task to the frame that it was asked of.
            result: The answers.
        """
        self._last = self._figures.frames, frames, result
        # A frame need not be asked of every task: of the others the last answer stands.
        self._answers = {**self._answers, **result.answers}

    def health(self) -> dict[str, Any]:
        """Whether frames are answered; if not, why."""
        cameras = self._cameras()
        is_up = all(camera["up"] for camera in cameras)
        reason = "; ".join(camera["reason"] for camera in cameras if camera["reason"])
        for camera in cameras:
            if not reason and (camera["silent_s"] or 0.0) > self._stale_s:
                reason = f"{camera['name']} gave no frame for {camera['silent_s']:.0f} s"
        age_s = self._figures.age_s
        if is_up and not reason and (age_s is None or age_s > self._stale_s):
            reason = f"no frame was answered for {age_s or self._figures.uptime_s:.0f} s"
        return {"ok": is_up and not reason, "camera": is_up, "reason": reason}

    def settings(self) -> dict[str, Any]:
        """What the HTTP process has to know."""
        return {"token": self._token, "exports": self._exported is not None, "started_ns": self._started_ns}

    def picture(self) -> tuple[int, list[tuple[Frame, dict[str, Any]]]] | None:
        """The latest frame's number, and each frame of that moment with what was answered on it."""
        if self._last is None:
            return None
        number, frames, result = self._last
        groups: dict[int, tuple[Frame, dict[str, Any]]] = {}
        for task, answer in result.answers.items():
            groups.setdefault(id(frames[task]), (frames[task], {}))[1][task] = answer
        return number, list(groups.values())

    def to_json(self) -> dict[str, Any]:
        """Everything but the picture, as plain data."""
        cameras = self._cameras()
        shown: dict[str, Any] = {"frame": 0, "words": {}, "latency_us": {}}
        if self._last is not None:
            number, _, result = self._last
            latency_us = {
                "preprocessing": result.preprocessing_us,
                **result.latency_us,
                **{f"boxes of {stage.stage.on.task}": stage.us for stage in result.stages},
                "answering": result.answering_us,
            }
            shown = {"frame": number, "words": words(self._answers), "latency_us": latency_us}
        return {
            "bundle": self._bundle,
            "source": self._source,
            "health": self.health(),
            "cameras": cameras,
            "dropped": sum(camera["dropped"] for camera in cameras),
            **self._figures.to_json(),
            **self._vitals.to_json(),
            **shown,
        }

    def _exporting(self, header: dict[str, Any], body: memoryview, answer: Answer) -> None:
        if self._exported is not None:
            self._exported(header.get("up") is True, visible(str(header.get("sentence"))[:MOST_SAID]))
        answer(True)

    def _infer(self, header: dict[str, Any], body: memoryview, answer: Answer) -> None:
        if self._requests is None:
            answer({"refused": "this only shows what it sees; serve the bundle with: multigraft serve"})
            return
        try:
            asked = _asked(header, body, answer)
        except (KeyError, TypeError, ValueError) as error:
            answer({"refused": f"the inputs are not whole ({error})"})
            return
        self._requests.put(asked)


def _asked(header: dict[str, Any], body: memoryview, answer: Answer) -> Asked:
    inputs = {}
    for described in header["inputs"]:
        dtype, shape = np.dtype(str(described["dtype"])), tuple(int(n) for n in described["shape"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        inputs[str(described["name"])] = np.frombuffer(body[:size], dtype).reshape(shape)
        body = body[size:]
    return Asked(str(header["model"]), inputs, tuple(map(str, header["outputs"])), answer)
