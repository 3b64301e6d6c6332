"""Fourier transforms and Col2Im as products with constant matrices; STFT as a convolution whose kernels are waves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_LARGEST = 1 << 24
"""Elements of a matrix that is still written."""


def dft(writer: Writer) -> bool:
    """DFT along one axis, forward or inverse, real or complex."""
    node, given = writer.node, attributes(writer.node)
    optional = [*node.input[1:], "", ""]
    shape = writer.editor.shape(node.input[0])
    length, place = (writer.editor.constant(n) if n else None for n in optional[:2])
    if shape is None or (optional[0] and length is None) or (optional[1] and place is None):
        return False
    axis = int(place.reshape(-1)[0]) if place is not None else -2
    axis = (axis if writer.editor.opset >= 20 else given.get("axis", 1)) % len(shape)
    count, parts = shape[axis], shape[-1]
    is_inverse, is_half = bool(given.get("inverse")), bool(given.get("onesided"))
    size = 2 * (count - 1) if is_inverse and is_half else count
    if length is not None:
        size = int(length.reshape(-1)[0])
    matrix = _fourier(count, parts, size, is_inverse, is_half)
    if matrix.size > _LARGEST:
        return False
    last = 1 if is_inverse and is_half else 2
    rank = len(shape)
    order = [*(a for a in range(rank) if a not in (axis, rank - 1)), axis, rank - 1]
    moved = writer("Transpose", node.input[0], perm=order) if order != sorted(order) else node.input[0]
    others = [shape[a] for a in order[:-2]]
    flat = writer("Reshape", moved, writer.ints("rows", [math.prod(others), count * parts]))
    product = writer("MatMul", flat, writer.constant("waves", matrix))
    target = writer.ints("shape", [*others, matrix.shape[1] // last, last])
    if order == sorted(order):
        writer("Reshape", product, target, to=node.output[0])
    else:
        back = [int(a) for a in np.argsort(order)]
        writer("Transpose", writer("Reshape", product, target), to=node.output[0], perm=back)
    return True


def _fourier(count: int, parts: int, size: int, is_inverse: bool, is_half: bool) -> Array:
    """(elements, real and imaginary part) x (results, parts), both flat."""
    rows = []
    for unit in (np.eye(count), 1j * np.eye(count))[:parts]:
        if is_inverse and is_half:
            rows.append(np.fft.irfft(unit, size, axis=1)[:, :, None])
            continue
        answer = np.fft.ifft(unit, size, axis=1) if is_inverse else np.fft.fft(unit, size, axis=1)
        answer = answer[:, : size // 2 + 1] if is_half else answer
        rows.append(np.stack([answer.real, answer.imag], axis=-1))
    matrix: Array = np.stack(rows, axis=1).reshape(count * parts, -1)
    return matrix


def stft(writer: Writer) -> bool:
    """STFT convolves the signal with windowed waves."""
    node, given = writer.node, attributes(writer.node)
    signal, step, window, length = [*node.input, "", ""][:4]
    shape, values = (
        writer.editor.shape(signal),
        [writer.editor.constant(n) if n else None for n in (step, window, length)],
    )
    hop, taper, given_size = values
    if shape is None or len(shape) != 3 or hop is None or (window and taper is None) or (length and given_size is None):
        return False
    if given_size is not None:
        size = int(given_size.reshape(-1)[0])
    elif taper is not None:
        size = len(taper)
    else:
        return False
    taper = np.ones(size) if taper is None else taper
    batch, _, parts = shape
    waves = _fourier(size, parts, size, False, bool(given.get("onesided", 1)))
    if len(taper) != size or waves.size > _LARGEST:
        return False
    kernels = (waves.reshape(size, parts, -1) * taper.reshape(-1, 1, 1)).transpose(2, 1, 0)[:, :, None]
    rows = writer("Transpose", signal, perm=[0, 2, 1])
    image = writer("Unsqueeze", rows, writer.ints("height", [2]))
    weights = writer.constant("waves", kernels)
    frames = writer("Conv", image, weights, kernel_shape=[1, size], strides=[1, int(hop.reshape(-1)[0])])
    moved = writer("Transpose", frames, perm=[0, 2, 3, 1])
    target = writer.ints("shape", [batch, -1, len(kernels) // 2, 2])
    writer("Reshape", moved, target, to=node.output[0])
    return True


def col2im(writer: Writer) -> bool:
    """Col2Im of other than two axes adds by a matrix of zeros and ones."""
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    image, block = (writer.editor.constant(n) for n in node.input[1:3])
    if shape is None or image is None or block is None or len(image) == 2:
        return False
    rank = len(image)
    dilations, strides = (given.get(n, [1] * rank) for n in ("dilations", "strides"))
    places = _places(image.tolist(), block.tolist(), dilations, strides, given.get("pads", [0] * 2 * rank))
    size, columns = math.prod(image.tolist()), math.prod(shape[1:]) // (shape[1] // math.prod(block.tolist()))
    if places.size != columns or columns * size > _LARGEST:
        return False
    matrix = np.zeros((columns, size), np.float32)
    inside = np.flatnonzero(places >= 0)
    matrix[inside, places[inside]] = 1
    channels = shape[1] // math.prod(block.tolist())
    flat = writer("Reshape", node.input[0], writer.ints("rows", [shape[0] * channels, columns]))
    added = writer("MatMul", flat, writer.constant("places", matrix))
    writer("Reshape", added, writer.ints("shape", [shape[0], channels, *image.tolist()]), to=node.output[0])
    return True


def _places(
    image: Sequence[int], block: Sequence[int], dilations: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> Array:
    """The element of the flat image that each element of a column goes to; -1 for padding."""
    rank, along = len(image), []
    for axis, (size, k, dilation, stride) in enumerate(zip(image, block, dilations, strides, strict=True)):
        steps = (size + pads[axis] + pads[axis + rank] - dilation * (k - 1) - 1) // stride + 1
        along.append(np.arange(k)[:, None] * dilation + np.arange(steps)[None] * stride - pads[axis])
    places = []
    for offsets in itertools.product(*(range(k) for k in block)):
        grid = np.meshgrid(*(a[o] for a, o in zip(along, offsets, strict=True)), indexing="ij")
        is_inside = np.all([(g >= 0) & (g < s) for g, s in zip(grid, image, strict=True)], axis=0)
        flat = np.ravel_multi_index([np.clip(g, 0, s - 1) for g, s in zip(grid, image, strict=True)], image)
        places.append(np.where(is_inside, flat, -1).reshape(-1))
    return np.concatenate(places)


RULES: dict[str, tuple[Rule, ...]] = {"DFT": (dft,), "STFT": (stft,), "Col2Im": (col2im,)}
