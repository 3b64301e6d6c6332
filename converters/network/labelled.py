"""Frames with their labels: for the demo's accuracy column and for studies; building never needs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multigraft.converters.network.frames import Frames
from multigraft.errors import InputError
from multigraft.npz import NpzFile
from multigraft.sounds.listening import Listening
from multigraft.tensors.array_preparation import same_shape
from multigraft.tensors.preparation import Rows


@dataclass(frozen=True)
class Labelled:
    """Frames and the right class of each."""

    frames: Frames
    labels: npt.NDArray[np.int64]

    def accuracy(self, logits: npt.NDArray[Any]) -> float:
        """Share of frames whose highest score is the label; ``logits`` is (frames, classes)."""
        return float((logits.reshape(len(logits), -1).argmax(1) == self.labels).mean())


def load_labelled(path: Path, task: str, rows: Rows | None = None) -> Labelled:
    """Read an .npz file with ``frames`` (uint8, frames x height x width [x 3]; numbers of shape frames x ``rows`` for a
    task that takes arrays) and ``labels`` or an array named as the task.

    Raises:
        InputError: It is not such a file.
    """
    try:
        with NpzFile(path) as arrays:
            name = task if task in arrays else "labels"
            frames, labels = arrays["frames"], arrays[name].astype(np.int64)
    except InputError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} holds no labelled frames ({error})", f"store arrays frames and labels (or {task}) with numpy.savez"
        ) from error
    count = len(frames) if frames.ndim else 0
    if isinstance(rows, Listening):
        rows = (rows.samples,)
    is_fitting = frames.dtype == np.uint8 if rows is None else same_shape(frames.shape[1:], rows)
    if not is_fitting or count != labels.size or labels.ndim != 1 or not count:
        raise InputError(
            f"{path} holds {count} frames of {frames.dtype} and {labels.size} labels",
            "store uint8 frames (rows for a task that takes arrays) and one label for each",
        )
    return Labelled(list(frames), labels)
