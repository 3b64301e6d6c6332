"""How soon the audit closes an exit when pictures change, and how often it does without that.

``python -m tests.benchmarks.exit_shift NAME.graft TASK FRAMES.npz``: every frame of the file is answered once by the
exit and once by the whole network, as it is and changed. 200 times, frames are drawn with replacement: 20,000 as they
are, then changed ones until the exit closes. Early answers that were given count, which audited frames have none of.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.bundle.bundle import Bundle
from multigraft.exits.blocks import Bools
from multigraft.exits.policy import Exit
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.exits.exit_gate import ExitGate
from tests.benchmarks.early_exits import unaudited

RUNS = 200
BEFORE = 20_000
MOST_AFTER = 100_000
CHUNK = 2000
Pictures = npt.NDArray[np.uint8]


def _blurred(frames: Pictures) -> Pictures:
    """A box of 3 x 3 pixels, twice."""
    values = frames.astype(np.float32)
    for _ in range(2):
        for axis in (1, 2):
            values = (np.roll(values, 1, axis) + values + np.roll(values, -1, axis)) / 3
    return values.astype(np.uint8)


CHANGES: dict[str, Callable[[Pictures], Pictures]] = {
    "a third of the light": lambda frames: (frames // 3).astype(np.uint8),
    "blurred": _blurred,
    "turned by 90 degrees": lambda frames: np.rot90(frames, axes=(1, 2)).copy(),
}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("task")
    parser.add_argument("frames")
    parser.add_argument("--most", type=int, default=2000, help="frames of the file")
    parser.add_argument("--audited", type=float, nargs="+", default=[0.02, 0.05, 0.1], help="shares of the exits")
    options = parser.parse_args()
    with np.load(options.frames) as held:
        frames: Pictures = held["frames"][: options.most]
    bundle = Bundle.open(options.bundle)
    policy = bundle.manifest.task(options.task).exits[0]
    allowed = policy.promise.max_disagreement
    usual = _observed(bundle, options.task, frames)
    told: dict[str, Any] = {"frames": len(frames), "allowed": allowed, "runs": RUNS}
    told["as they are"] = _shares(usual)
    for name, change in CHANGES.items():
        other = _observed(bundle, options.task, change(frames))
        told[name] = _shares(other)
        for share in options.audited:
            told[name][f"audited {share:g}"] = _closed(usual, other, dataclasses.replace(policy, audited=share))
    print(json.dumps(told, indent=1))


def _observed(bundle: Bundle, task: str, frames: Pictures) -> tuple[Bools, Bools]:
    """(frames,) whether each exits, and whether the early answer is that of the whole network."""
    early, whole = unaudited(bundle), Engine(bundle, exits=False)
    exits, agrees = np.empty(len(frames), bool), np.empty(len(frames), bool)
    for number, frame in enumerate(frames):
        result = early.run(frame, (task,))
        said, right = result.answers[task], whole.run(frame, (task,)).answers[task]
        assert isinstance(said, Classification) and isinstance(right, Classification)
        exits[number], agrees[number] = bool(result.exits), said.index == right.index
    return exits, agrees


def _shares(seen: tuple[Bools, Bools]) -> dict[str, float]:
    exits, agrees = seen
    return {"rate": float(exits.mean()), "disagree": float((~agrees[exits]).mean()) if exits.any() else 0.0}


class _Run:
    """One exit in use.

    Attributes:
        gate: Of the exit.
        given: Early answers that were given.
        wrong: Those of them that the whole network does not give.
        exits: Frames that the exit answered, or would have but for the audit.
    """

    def __init__(self, policy: Exit, draw: np.random.Generator) -> None:
        self.gate = ExitGate("task", policy, lambda: True)
        self.gate.tell = lambda sentence: None
        self.given = self.wrong = self.exits = 0
        self._draw = draw

    def through(self, seen: tuple[Bools, Bools], most: int) -> int:
        """Go through frames drawn from these until the exit closes; returns how many there were."""
        exits, agrees = (array.tolist() for array in seen)
        for start in range(0, most, CHUNK):
            count = min(CHUNK, most - start)
            places, chances = self._draw.integers(0, len(exits), count), self._draw.random(count)
            for seen_so_far, (place, chance) in enumerate(zip(places.tolist(), chances.tolist(), strict=True), 1):
                if not exits[place]:
                    continue
                self.exits += 1
                if chance >= self.gate.audited_share:
                    self.given += 1
                    self.wrong += not agrees[place]
                    continue
                self.gate.audited(bool(agrees[place]))
                if not self.gate.is_open:
                    return start + seen_so_far
        return most


def _closed(usual: tuple[Bools, Bools], other: tuple[Bools, Bools], policy: Exit) -> dict[str, float | None]:
    draw = np.random.default_rng(0)
    false_alarms = in_time = 0
    after: list[int] = []
    audited: list[float] = []
    for _ in range(RUNS):
        run = _Run(policy, draw)
        run.through(usual, BEFORE)
        audited.append(run.gate.audit.audited / run.exits)
        if not run.gate.is_open:
            false_alarms += 1
            continue
        count = run.through(other, MOST_AFTER)
        after += [] if run.gate.is_open else [count]
        in_time += run.wrong <= 1.5 * policy.promise.max_disagreement * run.given
    return {
        "false_alarms": false_alarms / RUNS,
        "audited_before": float(np.mean(audited)),
        "closed": len(after) / max(RUNS - false_alarms, 1),
        "frames_to_close_median": float(np.median(after)) if after else None,
        "frames_to_close_95": float(np.percentile(after, 95)) if after else None,
        "share_of_runs_within_half_over": in_time / max(RUNS - false_alarms, 1),
    }


if __name__ == "__main__":
    main()
