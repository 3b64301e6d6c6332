"""What early exits save and cost on labelled frames, how often their promise is kept, how long it takes to decide.

``python -m tests.benchmarks.early_exits NAME.graft TASK FRAMES.npz --labels ARRAY``: the file holds ``frames`` and the
labels. The exit is the first of the task. For the promise, thresholds are chosen anew 200 times on frames drawn with
replacement: 500 lay the sequence out, as many as the bundle's test it, and all frames, which they were drawn from, say
whether it is kept. Energy is an estimate by the table of ``multigraft energy --estimate``, never a measurement.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from multigraft.bundle.bundle import Bundle
from multigraft.exits.blocks import Bools
from multigraft.exits.draws import Draws
from multigraft.exits.policy import Exit
from multigraft.exits.sureness import make_decision, make_sureness
from multigraft.exits.thresholds import Asked, choose_threshold, sequence_of
from multigraft.runtime import Engine
from multigraft.runtime.answers import Classification
from multigraft.runtime.energy.estimate import estimate, table_of
from multigraft.runtime.exits.exit_gate import ExitGate
from multigraft.runtime.exits.journey import Journey, way_of
from multigraft.tensors.arrays import Float64Array
from multigraft.tensors.specs import TensorSpec

LAYOUT_FRAMES = 500


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("task")
    parser.add_argument("frames")
    parser.add_argument("--labels", default="labels", help="name of the array")
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--table", default="45nm")
    options = parser.parse_args()
    with np.load(options.frames) as held:
        frames, labels = held["frames"], held[options.labels]
    bundle = Bundle.open(options.bundle)
    whole, early = Engine(bundle, exits=False), unaudited(bundle)
    gate = next(g for g in early.gates.values() if g.task == options.task)
    sureness = make_sureness(*early._tensor_of(gate.policy.output), gate.policy.rule, gate.policy.temperature)
    decide, gate.is_sure = gate.is_sure, lambda: True
    found = {name: np.empty(len(frames), int) for name in ("whole", "early")}
    sure, taken = np.empty(len(frames)), np.empty(len(frames), bool)
    for number, frame in enumerate(frames):
        for name, engine in (("whole", whole), ("early", early)):
            answer = engine.run(frame, (options.task,)).answers[options.task]
            assert isinstance(answer, Classification)
            found[name][number] = answer.index
        sure[number], taken[number] = sureness(), decide()
    agrees = found["whole"] == found["early"]
    answers = np.where(taken, found["early"], found["whole"])
    told: dict[str, Any] = {
        "frames": len(frames),
        "exit": gate.policy.segment,
        "rate": float(taken.mean()),
        "disagree_of_exits": float((~agrees[taken]).mean()) if taken.any() else 0.0,
        "accuracy_whole": float((found["whole"] == labels).mean()),
        "accuracy_with_exit": float((answers == labels).mean()),
        "accuracy_of_exits": float((answers == labels)[taken].mean()) if taken.any() else None,
        **_costs(early, options.task, gate.policy, float(taken.mean()), options.table),
        "promise": _resampled(sure, agrees, gate.policy, options.resamplings),
        "decision_us": {f"{classes} classes": _decision_us(classes) for classes in (10, 64, 1000)},
    }
    print(json.dumps(told, indent=1))


def unaudited(bundle: Bundle) -> Engine:
    """Its engine, from which every frame that is sure enough leaves."""
    engine = Engine(bundle)
    for gate in engine.gates.values():
        gate.audited_share = 0.0
    return engine


def _costs(engine: Engine, task: str, policy: Exit, rate: float, table: str) -> dict[str, float]:
    """MACs and estimated energy of a frame, whole over with exit."""
    manifest = engine.manifest
    order = [s.name for s in manifest.segments]
    last = order.index(policy.segment)
    needed = [name for name in order if name in manifest.task(task).segments]
    leaving = [name for name in needed if order.index(name) < last] + [policy.segment]
    behind = [name for name in needed if order.index(name) > last]
    macs = {name: manifest.segment(name).macs for name in order}
    joules = estimate(manifest, tuple(order), table_of(table)).segments_j
    ratios: dict[str, float] = {}
    for what, of in (("macs", macs), ("energy", joules)):
        whole = sum(of[name] for name in needed)
        with_exit = sum(of[name] for name in leaving) + (1 - rate) * sum(of[name] for name in behind)
        ratios |= {f"{what}_whole": whole, f"{what}_with_exit": with_exit, f"{what}_ratio": whole / with_exit}
    return ratios


def _resampled(sure: Float64Array, agrees: Bools, policy: Exit, resamplings: int) -> dict[str, Any]:
    promise = policy.promise
    asked = Asked(promise.kind, promise.max_disagreement, promise.confidence)
    draw = np.random.default_rng(0)
    kept, rates, shares = 0, [], []
    for _ in range(resamplings):
        lays, test = draw.integers(0, len(sure), LAYOUT_FRAMES), draw.integers(0, len(sure), promise.frames)
        chosen = choose_threshold(sure[test], agrees[test], asked, sequence_of(sure[lays], asked, promise.frames))
        taken = sure >= chosen.sureness if chosen else np.zeros(len(sure), bool)
        wrong = int((taken & ~agrees).sum())
        of = int(taken.sum()) if asked.kind == "selective" else len(sure)
        kept += wrong <= asked.max_disagreement * of
        rates.append(taken.mean())
        shares.append(wrong / of if of else 0.0)
    return {
        "kind": asked.kind,
        "max_disagreement": asked.max_disagreement,
        "confidence": asked.confidence,
        "resamplings": resamplings,
        "test_frames": promise.frames,
        "kept": kept / resamplings,
        "mean_rate": float(np.mean(rates)),
        "mean_disagreement": float(np.mean(shares)),
        "largest_disagreement": float(np.max(shares)),
    }


def _decision_us(classes: int, rounds: int = 2000) -> float:
    """Median of what deciding adds to a frame: the way and the exit, with segments that compute nothing."""
    from tests.exit_bundle import policy

    spec = TensorSpec("logits", (1, classes), "int8", 0.1, 0)
    array = np.random.default_rng(0).integers(-128, 128, (1, classes)).astype(np.int8)
    found = policy(2.0, audited=0.02)
    gate = ExitGate("task", found, make_decision(found, spec, array))
    answer = Classification(None, 0, 1.0)
    nothing = ((), lambda: None)
    segments = ("trunk", found.segment, "head")
    needs = {"task": ("trunk", "head")}
    way = way_of(("task",), segments, [nothing] * 3, needs, {found.segment: (gate, lambda: answer)}, Draws(0))
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        journey = Journey(way)
        for step in way.steps:
            if journey.needs(step):
                journey.passed(step)
        journey.finish({"task": answer})
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1000


if __name__ == "__main__":
    main()
