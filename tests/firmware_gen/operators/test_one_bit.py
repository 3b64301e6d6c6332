"""Convolutions that were given 1 bit after training, as firmware: C gives what the interpreter gives, bit for bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from multigraft.converters.conversion.interpreters import Runner, tapped
from multigraft.converters.conversion.rewriting import prune
from multigraft.converters.one_bit.fit import Solver
from multigraft.firmware_gen import generate
from multigraft.firmware_gen.boards.cores import M3
from tests.converters.one_bit.networks import one_layer
from tests.firmware_gen.host import SANITIZERS, compile_host, run_host

CASES = 6


def test_a_solved_layer_equals_the_interpreter(tmp_path: Path) -> None:
    solver = Solver(one_layer())
    (layer,) = solver.candidates
    whole = solver.solved({layer.name: 1}).graph
    ops = tuple(op for op in whole.ops if op.outputs != (layer.linear.source,))
    part = prune(dataclasses.replace(whole, ops=ops, inputs=(layer.linear.source,), outputs=(layer.name,)))
    shape = part.tensors[layer.linear.source].shape
    inputs = np.random.default_rng(0).integers(-128, 128, (CASES, *shape), np.int8)
    model = tapped(part, part.outputs)
    runner = Runner(model)
    wanted = np.stack([next(iter(runner({layer.linear.source: value}).values())) for value in inputs])
    project = generate(model, core=M3)
    (answer,) = run_host(compile_host(project, tmp_path, *SANITIZERS), project, [inputs]).values()
    np.testing.assert_array_equal(answer, wanted)
    assert len(np.unique(wanted)) > 20
