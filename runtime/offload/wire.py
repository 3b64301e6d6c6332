"""What a device and a server agree on: the names of models, and of the tensors that the codec travels as.

In the Open Inference Protocol a representation is four tensors, called as the bundle calls it and with suffixes: the
packed codes, their number of bits, the value of code 0 and the step. A model's name tells its bundle, by the digest of
its model, so that no device asks the rest of another one.
"""

from __future__ import annotations

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
    """What a server calls the rest of a task: letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", f"{manifest.name}_{task}")[:_LONGEST].strip("_")
    return f"{plain}_{manifest.files[MODEL].sha256[:_DIGITS]}"


def wire_tensors(packet: Packet) -> dict[str, Array]:
    """A packet as the tensors of an inference request."""
    return {
        packet.tensor: packet.packed,
        f"{packet.tensor}{BITS_SUFFIX}": np.array([packet.bits], np.int32),
        f"{packet.tensor}{LOW_SUFFIX}": packet.low,
        f"{packet.tensor}{STEP_SUFFIX}": packet.step,
    }
