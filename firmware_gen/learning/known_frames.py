"""What frames without labels say of the classes that a network knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from multigraft.errors import UsageError
from multigraft.firmware_gen.arithmetic.accumulators import dense_layer
from multigraft.firmware_gen.inspection.reference import evaluate
from multigraft.firmware_gen.learning.last_layer import Known, Learning, chain_of, steps_of, task_of
from multigraft.firmware_gen.learning.learnt_layer import MOST_FRAMES, products_of
from multigraft.firmware_gen.program.program import Program, Task
from multigraft.tensors.arrays import Array


def knows(program: Program, learning: Learning, frames: Sequence[dict[str, Array]]) -> Known:
    """What frames without labels say: sums over the inputs of the layer, and what logits are like.

    Args:
        program: Pruned, as it is generated.
        learning: The task.
        frames: Stored inputs of that task by tensor name.

    Raises:
        UsageError: There are no frames, or too many.
    """
    if not 0 < len(frames) <= MOST_FRAMES:
        raise UsageError(f"{len(frames)} frames say nothing of known classes", f"give 1 to {MOST_FRAMES}")
    node = program.steps[chain_of(program, learning)[0]].node
    bit = 1 << program.tasks.index(task_of(program, learning))
    needed = tuple(step for step in program.steps if step.tasks & bit)
    tapped = replace(program, steps=needed, tasks=(Task("features", (node.input(0).name,)),), exits=())
    tapped = replace(tapped, tensors={**program.tensors, node.input(0).name: node.input(0)})
    rows = np.stack([evaluate(tapped, frame)[node.input(0).name].reshape(-1) for frame in frames])
    layer = dense_layer(node)
    logits = (rows.astype(np.int64) @ layer.weights.astype(np.int64).T + layer.bias) * steps_of(node)
    largest = logits.max(axis=1)
    others = max(1, logits.shape[1] - 1)
    lost = float(((logits.sum(axis=1) - largest) / others).mean())
    return Known(products_of(rows, layer.input_zero_point), len(rows), float(largest.mean()), lost)
