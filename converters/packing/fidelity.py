"""What the finished bundle answers compared with the original networks: run on the workstation, segment by segment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multigraft.agreement.agreement import Agreement, agreement
from multigraft.bundle.bundle import Bundle
from multigraft.converters.conversion.interpreters import Runner
from multigraft.converters.graft.evidence import Evidence
from multigraft.converters.network.frames import Frames
from multigraft.converters.network.network import Network
from multigraft.tensors.arrays import Array
from multigraft.tensors.joining import joined_outputs
from multigraft.tensors.preparation import preparer_for


class BundleRunner:
    """Answers tasks of a bundle on many frames through the public signatures; for measuring, not for speed."""

    def __init__(self, bundle: Bundle, backend: str = "ai-edge-litert") -> None:
        self.manifest = bundle.manifest
        self._runner = Runner(bundle.model, backend)
        self._preparers = {
            i.tensor: preparer_for(i.preprocessing, self.manifest.tensor(i.tensor)) for i in self.manifest.inputs
        }

    def outputs(self, task: str, frames: Frames) -> list[Array]:
        """The task's outputs as real numbers, one array per output, frames first, in the layout of the bundle."""
        asked = self.manifest.task(task)
        specs = [self.manifest.tensor(name) for name in asked.outputs]
        rows = (self.values(asked.segments, frame) for frame in frames)
        real = [joined_outputs(asked.joined, specs, [row[name] for name in asked.outputs]) for row in rows]
        return [np.concatenate(output) for output in zip(*real, strict=True)]

    def values(self, segments: Sequence[str], frame: Array) -> dict[str, Array]:
        """Every tensor that these segments read or write, as stored.

        Args:
            segments: Names, in running order.
            frame: What their tasks look at.
        """
        values: dict[str, Array] = {}
        for name in segments:
            segment = self.manifest.segment(name)
            for tensor in segment.inputs.values():
                if tensor in self._preparers and tensor not in values:
                    spec = self.manifest.tensor(tensor)
                    values[tensor] = np.empty(spec.shape, spec.dtype)
                    self._preparers[tensor].fill(frame, values[tensor])
            given = {argument: values[tensor] for argument, tensor in segment.inputs.items()}
            results = self._runner(given, segment.signature)
            values.update({tensor: results[argument] for argument, tensor in segment.outputs.items()})
        return values


def bundle_agreement(
    runner: BundleRunner,
    network: Network,
    evidence: Evidence,
    confidence: float,
    tolerance: float | None,
) -> Agreement:
    """Agreement of the bundle's answer with the original network's on the held-out frames."""
    return answers_agreement(runner.outputs(network.name, evidence.accept), network, evidence, confidence, tolerance)


def answers_agreement(
    answers: Sequence[Array], network: Network, evidence: Evidence, confidence: float, tolerance: float | None
) -> Agreement:
    """Agreement of answers with the original network's on the held-out frames.

    Args:
        answers: An array per output, frames first, real numbers in the layout of a bundle or of the network.
        network: The original.
        evidence: Its frames.
        confidence: Of the bound.
        tolerance: See :func:`~multigraft.agreement.agreement.agreement`.
    """
    original = evidence.answers(network)
    new = [_original_layout(b, a.shape) for a, b in zip(original, answers, strict=True)]
    return agreement(
        network.kind,
        original,
        new,
        confidence=confidence,
        tolerance=tolerance,
        answer=network.answer,
        labels=network.labels,
        right=evidence.decoded(network),
    )


def with_fidelity(bundle: Bundle, figures: Mapping[str, Mapping[str, Any]]) -> Bundle:
    """The same bundle with figures added to its tasks' fidelity."""
    return bundle.with_tasks(
        dataclasses.replace(t, fidelity={**t.fidelity, **figures.get(t.name, {})}) for t in bundle.manifest.tasks
    )


def _original_layout(new: Array, shape: Sequence[int]) -> Array:
    """NHWC values in the ONNX layout of that shape."""
    if new.ndim == 4 and len(shape) == 4 and tuple(new.shape[i] for i in (0, 3, 1, 2)) == tuple(shape):
        return new.transpose(0, 3, 1, 2)
    return new.reshape(shape)
