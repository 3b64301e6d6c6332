"""What grafting hands to conversion: one ONNX graph for all tasks, and where it will be cut into segments."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import onnx

from multigraft import files
from multigraft.answers.own_format import OwnFormat
from multigraft.bundle.manifest import Task
from multigraft.errors import InputError
from multigraft.json_decoding import decode
from multigraft.reading import regular_file
from multigraft.tensors.preparation import Preparation

METADATA_KEY = "multigraft"
_LARGEST = 2 << 30


@dataclass(frozen=True)
class SegmentSpec:
    """A part of the graph that will run on its own: everything between ``inputs`` and ``outputs`` (ONNX tensor names).

    ``inputs`` are graph inputs or outputs of earlier segments.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class MultiTaskModel:
    """One ONNX graph that answers all tasks.

    Attributes:
        model: Batch fixed to 1; pictures NCHW float32; the graph outputs are all tasks' outputs, nothing else.
        inputs: Graph input name to what it expects of a frame.
        segments: In an order in which they can run; together they hold every node exactly once.
        tasks: As they will stand in the manifest (``outputs`` are ONNX tensor names here).
        provenance: Source digests and how the graft was chosen; goes into the manifest.
        own: Task to the user's function that decodes its outputs here; is not saved.
        early: Logits of early exits, which segments of their own write.
    """

    model: onnx.ModelProto
    inputs: dict[str, Preparation]
    segments: tuple[SegmentSpec, ...]
    tasks: tuple[Task, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    own: Mapping[str, OwnFormat] = field(default_factory=dict)
    early: tuple[str, ...] = ()

    @property
    def answers(self) -> list[str]:
        """The outputs of all tasks, each once: tasks of one trunk may share some."""
        return list(dict.fromkeys(o for task in self.tasks for o in task.outputs))

    @property
    def ends(self) -> list[str]:
        """What no segment reads: the outputs of all tasks and of their early exits."""
        return [*self.answers, *self.early]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .onnx file that any ONNX tool opens; the rest stands in its metadata."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        rest = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("model", "own")}
        plain = json.dumps(rest, default=dataclasses.asdict)
        onnx.helper.set_model_props(model, {METADATA_KEY: plain})
        files.write_bytes(path, model.SerializeToString())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: It is not there or not such a file.
        """
        try:
            with regular_file(path, _LARGEST) as file:
                # Without the path, since such a model keeps no weights in other files.
                model = onnx.load_model_from_string(file.read())
            rest = json.loads(next(p.value for p in model.metadata_props if p.key == METADATA_KEY))
            known = {
                "inputs": decode(dict[str, Preparation], rest["inputs"], "inputs"),
                "segments": decode(tuple[SegmentSpec, ...], rest["segments"], "segments"),
                "tasks": decode(tuple[Task, ...], rest["tasks"], "tasks"),
                "provenance": rest["provenance"],
            }
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{path} is not a multi-task model of multigraft ({type(error).__name__})",
                "write one with multigraft graft",
            ) from error
        return cls(model=model, **known)


def is_multitask(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an ONNX model that :meth:`MultiTaskModel.save` wrote."""
    try:
        with regular_file(path, _LARGEST) as file:
            model = onnx.load_model_from_string(file.read())
    except Exception:
        # Who reads it as a network of its own says what is wrong with it.
        return False
    return any(p.key == METADATA_KEY for p in model.metadata_props)
