"""What grafting evaluated, kept while a build runs: the similarity table and every candidate."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from multigraft.agreement.agreement import Agreement
from multigraft.converters.graft.candidate import Candidate
from multigraft.converters.graft.join import Join
from multigraft.converters.graft.refit import LayerFit
from multigraft.converters.graft.tail import Tail
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network, model_of
from multigraft.converters.similarity.representations import SimilarityTable
from multigraft.npz import npz_bytes, read_npz


class SavedEvaluations:
    """Looks up and stores evaluations.

    Args:
        checkpoints: Where they are kept.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._digests: dict[int, tuple[object, bytes]] = {}

    def similarity(
        self, networks: Sequence[Network], frames: Frames, seed: int, measure: Callable[[], SimilarityTable]
    ) -> SimilarityTable:
        """The table that ``measure`` gives."""
        depends_on: list[bytes | str] = [*map(self._network, networks), self._frames(frames), str(seed)]
        return _table_from(self._checkpoints.get("similarity", depends_on, lambda: _table_bytes(measure())))

    def graft(
        self,
        join: Join,
        networks: tuple[Network, Network],
        frames: Sequence[Frames],
        options: Sequence[Any],
        evaluate: Callable[[], Candidate],
    ) -> Candidate:
        """The candidate that ``evaluate`` gives.

        Args:
            join: Where and how.
            networks: Donor and target.
            frames: All that it looks at.
            options: Everything else that decides the result.
            evaluate: Grafts and measures.
        """
        depends_on: list[bytes | str] = [*map(self._network, networks), *map(self._frames, frames)]
        depends_on += [repr(join), repr(tuple(options)), "tails of several sources"]
        return _candidate_from(join, self._checkpoints.get("graft", depends_on, lambda: _candidate_bytes(evaluate())))

    def step(
        self, name: str, network: Network, frames: Frames, options: Sequence[Any], do: Callable[[], bytes]
    ) -> bytes:
        """What ``do`` gives of one network and frames.

        Args:
            name: What kind of step it is.
            network: That it is of.
            frames: All that it looks at.
            options: Everything else that decides the result.
            do: Makes it.
        """
        depends_on: list[bytes | str] = [self._network(network), self._frames(frames), repr(tuple(options))]
        return self._checkpoints.get(name, depends_on, do)

    def _network(self, network: Network) -> bytes:
        """Everything an evaluation reads of a network: what it is called and its labels decide nothing."""

        def parts() -> tuple[bytes, ...]:
            graph = network.model.SerializeToString(deterministic=True)
            answer = b"" if network.answer is None else repr((network.answer, network.labels)).encode()
            return graph, repr(network.preprocessing).encode(), network.kind.encode(), answer

        return self._digest(network, parts)

    def _frames(self, frames: Frames) -> bytes:
        return self._digest(frames, lambda: (repr(f.shape).encode() + f.tobytes() for f in frames))

    def _digest(self, what: object, parts: Callable[[], Any]) -> bytes:
        # Kept with the digest, so that no other object can get its id.
        if id(what) not in self._digests:
            digest = hashlib.sha256()
            for part in parts():
                digest.update(part)
            self._digests[id(what)] = what, digest.digest()
        return self._digests[id(what)][1]


def _table_bytes(table: SimilarityTable) -> bytes:
    fields = dataclasses.asdict(table)
    matrices = {name: fields.pop(name) for name in ("unbiased", "biased")}
    return npz_bytes({"fields": np.array(json.dumps(fields)), **matrices})


def _table_from(data: bytes) -> SimilarityTable:
    arrays = read_npz(data)
    fields = json.loads(str(arrays["fields"]))
    fields |= {name: tuple(fields[name]) for name in ("networks", "cut_points")}
    return SimilarityTable(unbiased=arrays["unbiased"], biased=arrays["biased"], **fields)


def _candidate_bytes(candidate: Candidate) -> bytes:
    tail = candidate.tail
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in tail.constants.items()]
    graph = onnx.helper.make_graph(list(tail.nodes), "tail", [], [], constants)
    fields = {
        "tail": {"sources": tail.sources, "outputs": tail.outputs, "opset": tail.opset, "batch": tail.batch},
        "agreement": candidate.agreement and candidate.agreement.to_json(),
        "own_weights": candidate.own_weights,
        "own_macs": candidate.own_macs,
        "layers": [dataclasses.asdict(layer) for layer in candidate.layers],
        "adapter_error": candidate.adapter_error,
    }
    model: bytes = model_of(graph, tail.opset).SerializeToString()
    return json.dumps(fields).encode() + b"\n" + model


def _candidate_from(join: Join, data: bytes) -> Candidate:
    line, _, model = data.partition(b"\n")
    fields = json.loads(line)
    graph = onnx.load_from_string(model).graph
    tail = Tail(
        tuple(fields["tail"]["sources"]),
        tuple(graph.node),
        {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer},
        tuple(fields["tail"]["outputs"]),
        fields["tail"]["opset"],
        fields["tail"]["batch"],
    )
    return Candidate(
        join,
        tail,
        fields["agreement"] and Agreement(**fields["agreement"]),
        fields["own_weights"],
        fields["own_macs"],
        tuple(LayerFit(**layer) for layer in fields["layers"]),
        fields["adapter_error"],
    )
