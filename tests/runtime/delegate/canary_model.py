"""The small binary network of :mod:`multigraft.runtime.delegate.canary`, and what numpy makes of it."""

from __future__ import annotations

import zlib

import numpy as np

from multigraft.runtime.delegate.canary import canary_input
from multigraft.tflite.graph import Model, Signature
from multigraft.tflite.tflite_file import read, write
from tests.runtime.delegate.binary_cases import Conv, answer_of, model_of, with_values


def cases() -> dict[str, Conv]:
    """Signature to network: together all operators, and every type of their tensors but bool."""
    second = Conv(1, 3, 3, 33, 8, (1, 1), output="int8", activation=1)
    chain = Conv(1, 5, 5, 40, 33, (2, 2), source="int8", output="packed", pads_one=False, pool=(2, 2, 0), second=second)
    signs = Conv(1, 4, 4, 40, 3, (2, 2), stride=(2, 1), output="packed", is_valid=True)
    floats = Conv(1, 3, 3, 64, 4, groups=2, output="float32", pads_one=False)
    rng = np.random.default_rng(41)
    return {name: with_values(case, rng) for name, case in (("chain", chain), ("signs", signs), ("floats", floats))}


def canary_model() -> bytes:
    """The .tflite file."""
    graphs, signatures = [], []
    for number, (name, case) in enumerate(cases().items()):
        model = read(model_of(case))
        graphs.append(model.main)
        signatures.append(Signature(name, model.signatures[0].inputs, model.signatures[0].outputs, number))
    return write(Model(tuple(graphs), tuple(signatures)))


def expected() -> dict[str, int]:
    """CRC-32 of each signature's output."""
    answers = {}
    for name, case in cases().items():
        shape = (case.batch, case.height, case.width, case.channels)
        answers[name] = zlib.crc32(answer_of(case, canary_input(shape, case.source)).tobytes())
    return answers
