"""A network that stands in a bundle as it is: quantised already, so that it shares nothing and nothing is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multigraft.answers.kind import Kind
from multigraft.tensors.preparation import Preparation
from multigraft.tflite.graph import Graph
from multigraft.tflite.macs import graph_macs


@dataclass(frozen=True)
class StandingNetwork:
    """A whole .tflite file that computes with integers or bits.

    Attributes:
        name: The task's name.
        path: Of the file.
        content: All of it, checked.
        graph: Its one subgraph, with all of its tensors.
        preprocessing: What the input expects of a frame, as real values.
        kind: What the outputs mean.
        labels: One per class, or empty.
        source_sha256: Digest of the file.
    """

    name: str
    path: Path
    content: bytes
    graph: Graph
    preprocessing: Preparation
    kind: Kind
    labels: tuple[str, ...]
    source_sha256: str

    @property
    def weights_bytes(self) -> int:
        """Bytes of all constants."""
        return self.graph.weights_bytes()

    @property
    def macs(self) -> int:
        """Multiply-accumulates per frame."""
        return graph_macs(self.graph)
