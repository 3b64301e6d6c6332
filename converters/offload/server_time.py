"""What the rest of a task takes on a server: asked there where the server takes models that are sent to it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from multigraft.converters.job.progress import Report
from multigraft.converters.network.network import session_of
from multigraft.converters.offload.tail import Tail
from multigraft.runtime.offload.exchange import ExchangeError
from multigraft.runtime.offload.inference_client import InferenceClient
from multigraft.tensors.arrays import Array

RUNS = 24
WARMUP = 4
DEADLINE_S = 60.0
"""Of one exchange: a server may need long for its first answer."""


class ServerTime:
    """Times rests on a server, or on this machine where no server loads them.

    Args:
        client: The server; None for this machine.
        report: Is told, once, why it is this machine.

    Attributes:
        is_measured_there: Whether the last figures are the server's.
    """

    def __init__(self, client: InferenceClient | None, report: Report) -> None:
        self._client, self._report = client, report
        self.is_measured_there = client is not None

    def seconds(self, rests: Mapping[str, tuple[Tail, Mapping[str, Array]]]) -> dict[str, float]:
        """Medians of some runs, seconds, without what the smallest exchange takes; all by one machine.

        Args:
            rests: Cut to the rest behind it and what travels.
        """
        if self._client is not None:
            try:
                return {cut: self._there(self._client, *rest) for cut, rest in rests.items()}
            except ExchangeError as error:
                self._report(f"note: {error.problem}; what it would take is measured on this machine ({error.remedy})")
                self._client, self.is_measured_there = None, False
        return {cut: _here(*rest) for cut, rest in rests.items()}

    def _there(self, client: InferenceClient, tail: Tail, inputs: Mapping[str, Array]) -> float:
        name = f"multigraft_try_{time.time_ns():x}"
        config = {"name": name, "backend": "onnxruntime", "max_batch_size": 0}
        client.load(name, config, tail.model.SerializeToString(), time.monotonic() + DEADLINE_S)
        try:
            shapes = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in tail.model.graph.output}
            took, empty = [], []
            for _ in range(WARMUP + RUNS):
                empty.append(client.ready_s(time.monotonic() + DEADLINE_S))
                begun = time.perf_counter()
                client.infer(name, inputs, shapes, time.monotonic() + DEADLINE_S)
                took.append(time.perf_counter() - begun)
        finally:
            client.unload(name, time.monotonic() + DEADLINE_S)
        return max(0.0, statistics.median(took[WARMUP:]) - statistics.median(empty[WARMUP:]))


def _here(tail: Tail, inputs: Mapping[str, Array]) -> float:
    session = session_of(tail.model, tail.task)
    took = []
    for _ in range(WARMUP + RUNS):
        begun = time.perf_counter()
        session.run(None, dict(inputs))
        took.append(time.perf_counter() - begun)
    return statistics.median(took[WARMUP:])
