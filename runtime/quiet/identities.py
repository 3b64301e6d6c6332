"""Who is who over frames: a kept tracker (``edgefirst-tracker``: ByteTrack, arXiv:2110.06864) numbers detections."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from multigraft.answers.detections import Detections
from multigraft.errors import MissingDependencyError
from multigraft.installing import how_missing, install_extra, repair
from multigraft.runtime.answers import Answer

SURE = 0.5
"""Detections of at least this score begin a track; weaker ones can go on with one."""
OVERLAP = 0.25
"""Least intersection over union of a detection and where its track is expected."""
KEPT_FRAMES = 30
"""A thing that is not seen for longer is another one when it comes back."""
_FRAME_NS = 1_000_000
"""The tracker counts time; frames count here, so that equal frames give equal numbers on any machine."""


class Identities:
    """Numbers detections of one stream of frames; not for use from several threads at once.

    Things of different classes are different things. A number is given once and not used again.

    Args:
        kept_frames: How many frames a thing may be out of sight.

    Raises:
        MissingDependencyError: The tracker is not installed.
    """

    def __init__(self, kept_frames: int = KEPT_FRAMES) -> None:
        try:
            from edgefirst.tracker import ByteTrack
        except Exception as error:
            raise MissingDependencyError(
                f"following things over frames needs edgefirst-tracker, which is {how_missing(error)}",
                repair(error, install_extra("track")),
            ) from error
        self._make: Any = lambda: ByteTrack(SURE, OVERLAP, OVERLAP, kept_frames * _FRAME_NS)
        self._kept_frames = kept_frames
        self._trackers: dict[tuple[str, int], tuple[Any, int]] = {}
        self._numbers: dict[str, tuple[int, int]] = {}
        self._next = 1
        self._frame = 0

    def step(self, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """The same answers; each detection has its identity, -1 while it has none."""
        self._frame += 1
        numbered = {
            task: self._numbered(task, answer) if isinstance(answer, Detections) else answer
            for task, answer in answers.items()
        }
        last = self._frame - self._kept_frames - 1
        self._trackers = {key: kept for key, kept in self._trackers.items() if kept[1] > last}
        self._numbers = {key: kept for key, kept in self._numbers.items() if kept[1] > last}
        return numbered

    def _numbered(self, task: str, found: Detections) -> Detections:
        ids = np.full(len(found), -1, np.int64)
        is_sound = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
        is_sound &= (found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)
        seen = {(task, int(index)) for index in np.unique(found.classes[is_sound])}
        for key in sorted(seen | {key for key in self._trackers if key[0] == task}):
            tracker, last = self._trackers.get(key) or (self._make(), 0)
            self._trackers[key] = tracker, self._frame if key in seen else last
            rows = np.flatnonzero(is_sound & (found.classes == key[1]))
            tracks = tracker.update(
                np.ascontiguousarray(found.boxes[rows], np.float32),
                np.ascontiguousarray(found.scores[rows], np.float32),
                np.zeros(len(rows), np.uintp),
                self._frame * _FRAME_NS,
            )
            for row, track in zip(rows.tolist(), tracks, strict=True):
                if track is not None:
                    ids[row] = self._number(track.uuid)
        return dataclasses.replace(found, ids=ids)

    def _number(self, name: str) -> int:
        number = self._numbers.get(name, (self._next, 0))[0]
        self._next = max(self._next, number + 1)
        self._numbers[name] = number, self._frame
        return number
