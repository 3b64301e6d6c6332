"""The least instructions that a layer can take on a core with DSP instructions, for a table beside what it takes.

Weights are stored as int8 and 14 registers can be used, two of which point at weights and inputs. That leaves these:

- SMLAD multiplies two pairs. A tile of p pixels by c channels has p * c sums, p words of inputs and words of weights,
  each of two channels: SMLAD as it is and after one SXTB16. One LDM loads the inputs of a pair of taps, one the weights
  of as many pairs as registers are left for. The best tile takes 0.69 instructions a multiplication.
- A depthwise kernel's row of n taps takes (n + 1) / 2 multiplications, and an output at least one LDM. Weights of 3x3
  take six registers, a column three, two sums and three places five: what rescales is loaded again for two outputs.
- Each input is loaded (four by one instruction), widened (two by one) and stored (12 by one). Four bytes in a row are
  four channels of a depthwise layer, whose words pair neighbours of one: one instruction packs two, one stores two.
- Each output is multiplied by its scale, saturated and stored.

Loops, addresses, the image's sides and what gathers a kernel's inputs are not in it.
"""

from __future__ import annotations

import math

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.windowed_layers import convolution_layer, depthwise_layer
from multigraft.firmware_gen.passes.fold_padding import fold_padding
from multigraft.firmware_gen.passes.pruning import prune
from multigraft.firmware_gen.program.program import Node, Step, load
from multigraft.firmware_gen.project.project import StepReport

_FREE = 12
_PER_OUTPUT = 3


def least_per_mac(pixels: int) -> float:
    """Instructions per multiplication of the best tile of at most so many pixels."""
    best = 1.5
    for p in range(1, min(pixels, _FREE) + 1):
        for c in range(2, _FREE, 2):
            pairs = (_FREE - p * c - p) // (c // 2)
            if pairs > 0:
                best = min(best, (1 + 1 / pairs + c // 2 + p * c) / (2 * p * c))
    return best


def floor_of(node: Node) -> float | None:
    """Least instructions of a layer; None of what is none."""
    if node.name == "DEPTHWISE_CONV_2D":
        over = depthwise_layer(node)[1]
        again = 1 / 2 if (over.k_h, over.k_w) == (3, 3) else 0
        per_output = over.k_h * ((over.k_w + 1) // 2) + 1 + again + _PER_OUTPUT
        return over.pixels() * over.out_c * per_output + over.in_h * over.in_w * over.in_c * (1 / 4 + 3 * 1 / 2)
    if node.name == "CONV_2D":
        over = convolution_layer(node)[1]
    elif node.name == "FULLY_CONNECTED":
        weights = node.input(1).shape
        rows = math.prod(node.input(0).shape) // weights[1]
        over = Window(1, rows, weights[1], 1, rows, weights[0], 1, 1)
    else:
        return None
    outputs, inputs = over.pixels() * over.out_c, over.in_h * over.in_w * over.in_c
    return outputs * (over.taps * least_per_mac(over.pixels()) + _PER_OUTPUT) + inputs * (1 / 4 + 1 / 2 + 1 / 12)


def floors(model: bytes, steps: tuple[StepReport, ...]) -> list[float | None]:
    """The floor of each generated step of a .tflite; layers that were joined have the sum of theirs."""
    made = {t.name: step for step in prune(fold_padding(load(model))).steps for t in step.node.outputs}
    outputs = {step.output for step in steps}
    return [_of_step(made, step, outputs - {step.output}) for step in steps]


def _of_step(made: dict[str, Step], step: StepReport, others: set[str]) -> float | None:
    names, found = step.operator.split("+"), []
    wanted = [step.output]
    while names and wanted:
        name = wanted.pop(0)
        part = made.get(name)
        if part is None or name in others or part.node.name not in (names[-1], "RESHAPE"):
            continue
        if part.node.name == names[-1]:
            names.pop()
            if (least := floor_of(part.node)) is not None:
                found.append(least)
            wanted = []
        wanted += [t.name for t in part.node.inputs if t is not None]
    return sum(found) if found else None
