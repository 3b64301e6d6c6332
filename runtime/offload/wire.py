"""What a device and a server agree on: the names of models, and of the tensors that the codec travels as.

In the Open Inference Protocol a representation is four tensors, called as the bundle calls it and with suffixes: the
packed codes, their number of bits, the value of code 0 and the step. A model's name tells its bundle, by the digest of
its model, so that no device asks the rest of another one.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from multigraft.bundle.bundle import MODEL
from multigraft.bundle.manifest import Manifest
from multigraft.runtime.offload.packet import Packet
from multigraft.tensors.arrays import Array

BITS_SUFFIX = ":bits"
LOW_SUFFIX = ":low"
STEP_SUFFIX = ":step"
WHOLE_SUFFIX = "_input"
"""Of models that answer from the network input on: beside one that answers from a cut point, a server may hold it."""
_DIGITS = 12
_LONGEST = 48


def model_name(manifest: Manifest, task: str, cut: str) -> str:
    """What a server calls the rest of a task behind a cut: letters, digits and underscores.

    No two tasks have one name. All of a task's cuts have the same but for the network input: which of them a server
    answers from is its model's to say.
    """
    suffix = WHOLE_SUFFIX if cut == manifest.inputs_of(task)[0].tensor else ""
    return _task_name(manifest, task) + suffix


def model_names(manifest: Manifest, task: str) -> tuple[str, str]:
    """What a server may call the rest of a task: behind a cut point, and from the network input on."""
    name = _task_name(manifest, task)
    return name, name + WHOLE_SUFFIX


def _task_name(manifest: Manifest, task: str) -> str:
    said = f"{manifest.name}_{task}"
    plain = re.sub(r"[^A-Za-z0-9]+", "_", said)[:_LONGEST].strip("_")
    # What was left out of a name may be all that tells two tasks apart.
    left_out = hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS] if plain != said else ""
    return "_".join(part for part in (plain, left_out, manifest.files[MODEL].sha256[:_DIGITS]) if part)


def wire_tensors(packet: Packet) -> dict[str, Array]:
    """A packet as the tensors of an inference request."""
    return {
        packet.tensor: packet.packed,
        f"{packet.tensor}{BITS_SUFFIX}": np.array([packet.bits], np.int32),
        f"{packet.tensor}{LOW_SUFFIX}": packet.low,
        f"{packet.tensor}{STEP_SUFFIX}": packet.step,
    }
