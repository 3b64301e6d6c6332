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
_DIGITS = 12
_LONGEST = 48


def model_name(manifest: Manifest, task: str) -> str:
    """What a server calls the rest of a task: letters, digits and underscores; no two tasks have one name."""
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
