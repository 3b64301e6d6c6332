"""LceBMaxPool2d."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.kernels.c_text import window_literal
from multigraft.firmware_gen.kernels.kernel import Kernel, function_kernel
from multigraft.firmware_gen.operators.base.constraints import is_words
from multigraft.firmware_gen.operators.base.operator import Operator
from multigraft.firmware_gen.operators.binary.demands import HEADERS, options_of
from multigraft.firmware_gen.operators.binary.window import binary_window
from multigraft.firmware_gen.program.program import Node
from multigraft.tensors.arrays import Array


def _window(node: Node) -> Window:
    options = options_of(node)
    return binary_window(node, (options["filter_height"], options["filter_width"]), options)


def _words(node: Node) -> bool:
    """Input and output have to be int32 words of one image, of the size that window, strides and padding give."""
    source, result = node.input(0), node.outputs[0]
    if not all(is_words(t) and len(t.shape) == 4 and t.shape[0] == 1 for t in (source, result)):
        return False
    over = _window(node)
    return result.shape == (1, over.out_h, over.out_w, source.shape[3])


class LceBMaxPool2d(Operator):
    """LceBMaxPool2d: the greatest of a window, whose bit is 0 if any is."""

    names = ("LceBMaxPool2d",)
    summary = "words of 32 channels, any window, stride and padding"
    constraints = (_words,)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        over, source = _window(node), inputs[0]
        assert source is not None
        result = np.empty(node.outputs[0].shape, np.int32)
        for y in range(over.out_h):
            top = y * over.stride_h - over.pad_h
            for x in range(over.out_w):
                left = x * over.stride_w - over.pad_w
                part = source[0, max(top, 0) : top + over.k_h, max(left, 0) : left + over.k_w]
                result[0, y, x] = np.bitwise_and.reduce(part.reshape(-1, over.in_c), axis=0)
        return result

    def lower(self, node: Node, core: CoreFeatures) -> Kernel:
        return function_kernel("binary_pool", f"mg_pool_bits({window_literal(_window(node), 0)}, in, out);", HEADERS)
