"""The port to whatever turns ONNX into TFLite, and its adapters.

There is one adapter. What comes out of any is matched with the original by its values
(:mod:`multigraft.converters.conversion.boundary_tensors`), so that an adapter needs to keep neither names nor layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx

from multigraft.converters.conversion import onnx2tf, onnx2tf_environment
from multigraft.converters.job.checkpoints import Checkpoints
from multigraft.converters.job.progress import Report, silent
from multigraft.tflite.graph import Model


class Converter(Protocol):
    """Makes float32 .tflite models of builtin operators."""

    @property
    def version(self) -> str:
        """As it goes into the manifest."""

    def to_tflite(
        self,
        model: onnx.ModelProto,
        folder: Path,
        report: Report = silent,
        checkpoints: Checkpoints | None = None,
        is_plain: bool = False,
    ) -> Model:
        """Convert a model of one frame whose signature keeps the names of inputs.

        Args:
            model: float32, pictures channels first; every tensor that is asked for later is an output of it.
            folder: An existing one, for intermediate files and logs.
            report: Takes a line for each step.
            checkpoints: Holds what was converted already, or None.
            is_plain: Ask for the least that it optimises, since what it made otherwise was wrong.

        Raises:
            ConversionError: It cannot; the message names operator and node as far as they are known.
        """


@dataclass(frozen=True)
class Onnx2tf:
    """onnx2tf, as a process in an environment of its own.

    Attributes:
        environment: Where it runs.
    """

    environment: onnx2tf_environment.Environment

    @property
    def version(self) -> str:
        """Of onnx2tf."""
        return self.environment.version

    def to_tflite(
        self,
        model: onnx.ModelProto,
        folder: Path,
        report: Report = silent,
        checkpoints: Checkpoints | None = None,
        is_plain: bool = False,
    ) -> Model:
        """As :meth:`Converter.to_tflite`."""
        return onnx2tf.to_tflite(model, self.environment, folder, report, checkpoints, is_plain)


def find_converter(report: Report = silent) -> Converter:
    """The converter of this machine, made ready on first use.

    Raises:
        UsageError: Its environment is not there and cannot be made.
    """
    return Onnx2tf(onnx2tf_environment.ensure(report))
