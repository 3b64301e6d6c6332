"""How long a plan takes on this machine, before anything is converted: the float32 parts timed one by one.

Float32 in onnxruntime is not int8 on the device. It ranks plans, which counts of MACs do badly where memory is what
layers wait for; whether the bundle keeps ``max_latency_us`` is measured on the bundle.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime

from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.sharing_plan import SharingPlan
from multigraft.converters.network.frontier import shapes_of
from multigraft.converters.network.network import Network

RUNS, LEAST_RUNS, WARMUP = 30, 5, 2

LONGEST_S = 0.25
"""Time for one part, after which the least number of runs is enough."""


class PlanLatency:
    """Times every network and every graft's own part once, on one thread.

    Args:
        networks: All of them.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = {n.name: n for n in networks}
        self._timed: dict[int, tuple[object, float]] = {}

    def __call__(self, plan: SharingPlan) -> float:
        """Microseconds for all tasks on one frame."""
        alone = [plan.root(n) for name, n in self._networks.items() if name not in plan.grafts]
        return sum(map(self._network, alone)) + sum(self._tail(graft, plan) for graft in plan.grafts.values())

    def _network(self, network: Network) -> float:
        feed = {network.input: np.ones((1, *network.input_shape), network.input_dtype)}
        return self._once(network, lambda: network.model.SerializeToString(), feed)

    def _tail(self, graft: Candidate, plan: SharingPlan) -> float:
        if id(graft) in self._timed:
            return self._timed[id(graft)][1]
        tail, donor = graft.tail, self._networks[plan.trunk_of(graft.join.target)]
        if not tail.own_outputs:
            return 0.0
        shapes = {**donor.shapes, **self._networks[graft.join.donor].shapes, **shapes_of(graft.join.donor_point)}
        whole = () if donor.input_dtype.kind == "f" else (donor.input,)
        feed = {
            name: np.ones((1, *shapes[name]), donor.input_dtype if name in whole else np.float32) for name in tail.read
        }
        ranks = {name: value.ndim for name, value in feed.items()}
        return self._once(graft, lambda: tail.model(ranks, whole).SerializeToString(), feed)

    def _once(self, part: object, content: Callable[[], bytes], feed: dict[str, Any]) -> float:
        # Kept with its time, so that no other object can get its id.
        if id(part) not in self._timed:
            self._timed[id(part)] = part, _median_us(content(), feed)
        return self._timed[id(part)][1]


def _median_us(model: bytes, feed: dict[str, Any]) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    times: list[int] = []
    while len(times) < WARMUP + RUNS and (len(times) < WARMUP + LEAST_RUNS or sum(times) < LONGEST_S * 1e9):
        start = time.perf_counter_ns()
        session.run(None, feed)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times[WARMUP:]) / 1000
