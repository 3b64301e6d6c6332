"""Fourier transforms of constant length as products with their matrices."""

from __future__ import annotations

import numpy as np

from multigraft.converters.conversion.rewrites.editing import Rule, Writer, attributes
from multigraft.tensors.arrays import Array

_LARGEST = 4096
"""Elements of a transform; its matrix has up to four times the square of this."""


def dft(writer: Writer) -> bool:
    """DFT of real or complex rows along any axis, also the inverse and the one-sided half."""
    node, given = writer.node, attributes(writer.node)
    shape, result = writer.editor.shape(node.input[0]), writer.editor.shape(node.output[0])
    if shape is None or result is None or shape[-1] not in (1, 2):
        return False
    axis: Array | int | None = given.get("axis", 1)
    if writer.editor.opset >= 20:
        named = node.input[2] if len(node.input) > 2 else ""
        axis = writer.editor.constant(named) if named else -2
    if axis is None:
        return False
    along, rank = int(np.asarray(axis).reshape(-1)[0]) % len(shape), len(shape)
    is_inverse, is_onesided = bool(given.get("inverse")), bool(given.get("onesided"))
    is_real = is_inverse and is_onesided
    length = 2 * (shape[along] - 1) if is_real else shape[along]
    if len(node.input) > 1 and node.input[1]:
        wanted = writer.editor.constant(node.input[1])
        if wanted is None:
            return False
        length = int(wanted.reshape(-1)[0])
    if not 0 < length <= _LARGEST:
        return False
    used = min(length // 2 + 1 if is_real else length, shape[along])
    results = length if is_real else result[along]
    matrix = (
        _half_to_real(length, used, shape[-1]) if is_real else _matrix(length, used, results, shape[-1], is_inverse)
    )
    x = node.input[0]
    if used < shape[along]:
        begin, end, axes = (writer.ints("part", [v]) for v in (0, used, along))
        x = writer("Slice", x, begin, end, axes)
    # The transformed axis goes next to the last one, real and imaginary part, and both become one.
    order = [*(a for a in range(rank - 1) if a != along), along, rank - 1]
    x = writer("Transpose", x, perm=order)
    outer = [shape[a] for a in order[:-2]]
    x = writer("Reshape", x, writer.ints("rows", [*outer, used * shape[-1]]))
    y = writer("MatMul", x, writer.constant("matrix", matrix))
    y = writer("Reshape", y, writer.ints("pairs", [*outer, results, 1 if is_real else 2]))
    writer("Transpose", y, perm=[int(a) for a in np.argsort(order)], to=node.output[0])
    return True


def _matrix(length: int, used: int, results: int, parts: int, is_inverse: bool) -> Array:
    """(used * parts, results * 2)."""
    angles = 2 * np.pi * np.outer(np.arange(used), np.arange(results)) / length * (1 if is_inverse else -1)
    cosines, sines = np.cos(angles), np.sin(angles)
    matrix = np.zeros((used, parts, results, 2))
    matrix[:, 0, :, 0], matrix[:, 0, :, 1] = cosines, sines
    if parts == 2:
        matrix[:, 1, :, 0], matrix[:, 1, :, 1] = -sines, cosines
    return matrix.reshape(used * parts, results * 2) / (length if is_inverse else 1)


def _half_to_real(length: int, used: int, parts: int) -> Array:
    """(used * parts, length): the real signal whose first ``used`` bins of the spectrum are given."""
    units = np.stack([np.eye(used), 1j * np.eye(used)][:parts], axis=1).reshape(used * parts, used)
    signal: Array = np.fft.irfft(units, length, axis=1)
    return signal


def stft(writer: Writer) -> bool:
    """STFT of a real signal: frames are gathered, and window and transform are one matrix."""
    node, given = writer.node, attributes(writer.node)
    shape = writer.editor.shape(node.input[0])
    constants = [writer.editor.constant(n) if n else None for n in [*node.input[1:], "", "", ""][:3]]
    step, window, size = constants
    is_missing = any(n and c is None for n, c in zip(node.input[1:], constants, strict=False))
    if shape is None or step is None or is_missing or (len(shape) == 3 and shape[2] != 1):
        return False
    length = int(size.reshape(-1)[0]) if size is not None else 0 if window is None else len(window)
    if not 0 < length <= _LARGEST or (window is not None and len(window) != length):
        return False
    stride, batch = int(step.reshape(-1)[0]), shape[0]
    # Inferred shapes count the frames otherwise than the specification does.
    frames, bins = (shape[1] - length) // stride + 1, length // 2 + 1 if given.get("onesided", 1) else length
    places = np.arange(frames)[:, None] * stride + np.arange(length)
    matrix = _matrix(length, length, bins, 1, False)
    if window is not None:
        matrix = matrix * window[:, None]
    x = writer("Reshape", node.input[0], writer.ints("signal", [batch, shape[1]]))
    x = writer("Gather", x, writer.ints("places", places.reshape(-1)), axis=1)
    x = writer("Reshape", x, writer.ints("frames", [batch * frames, length]))
    y = writer("MatMul", x, writer.constant("matrix", matrix))
    writer("Reshape", y, writer.ints("shape", [batch, frames, bins, 2]), to=node.output[0])
    return True


RULES: dict[str, tuple[Rule, ...]] = {"DFT": (dft,), "STFT": (stft,)}
