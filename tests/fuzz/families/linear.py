"""Products of matrices, recurrent layers, attention, transforms of signals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.fuzz.families.layout import factors
from tests.fuzz.sketch import Sketch


def matmul(s: Sketch) -> list[str]:
    """By a constant on either side, of either rank, or by a tensor."""
    x = s.tensor()
    shape = s.shape(x)
    if s.yes(4) and len(shape) >= 2:
        turned = list(range(len(shape)))
        turned[-2:] = reversed(turned[-2:])
        other = s.add("Transpose", x, perm=turned)
        return s.add("MatMul", x, *other) if other else []
    lead = list(shape[:-2]) if s.yes(3) else []
    if s.yes(3) and len(shape) >= 2:
        return s.add("MatMul", s.constant(s.floats([*lead, s.whole(1, 4), shape[-2]])), x)
    columns = [] if s.yes(8) else [s.whole(1, 5)]
    return s.add("MatMul", x, s.constant(s.floats([*(lead if columns else []), shape[-1], *columns])))


def gemm(s: Sketch) -> list[str]:
    """Both transpositions, factors, and an addend of any shape that broadcasts."""
    x = s.tensor((2,))
    if not x:
        source = s.tensor()
        x = (s.add("Reshape", source, s.ints([1, math.prod(s.shape(source))])) or [""])[0]
    if not x:
        return []
    trans_a, trans_b = s.whole(0, 1) if s.yes(3) else 0, s.whole(0, 1)
    rows, inner = s.shape(x)[::-1] if trans_a else s.shape(x)
    columns = s.whole(1, 5)
    weight = s.constant(s.floats((columns, inner) if trans_b else (inner, columns)))
    inputs = [x, weight]
    if s.opset < 11 or s.yes():
        inputs.append(s.constant(s.floats(s.pick(((columns,), (1, columns), (rows, columns), (rows, 1), (1,), ())))))
    given = {k: v for k, v in (("transA", trans_a), ("transB", trans_b)) if v}
    return s.add("Gemm", *inputs, **given, **s.optional(alpha=0.5, beta=2.0))


def einsum(s: Sketch) -> list[str]:
    """Some equations that networks use."""
    x = s.tensor((2, 3, 4))
    if not x:
        return []
    shape = s.shape(x)
    letters = "abcd"[: len(shape)]
    if s.yes():
        return s.add(
            "Einsum", x, s.constant(s.floats((shape[-1], 3))), equation=f"{letters},{letters[-1]}z->{letters[:-1]}z"
        )
    if s.yes():
        return s.add("Einsum", x, equation=f"{letters}->{s.pick((letters[::-1], letters[0], letters[1:]))}")
    return s.add("Einsum", x, x, equation=f"{letters},{letters[:-1]}z->{letters[:-2]}{letters[-1]}z")


def recurrent(s: Sketch) -> list[str]:
    """LSTM, GRU and RNN, each way, with any of the optional inputs; one of their outputs."""
    source = s.tensor((3,))
    if not source:
        wide = s.tensor()
        size = math.prod(s.shape(wide))
        steps = s.pick([f for f in range(1, 7) if size % f == 0])
        source = (s.add("Reshape", wide, s.ints([steps, 1, size // steps])) or [""])[0]
    if not source or s.shape(source)[0] > 8:
        return []
    kind = s.pick(("LSTM", "GRU", "RNN"))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    steps, batch, features = s.shape(source)
    size = s.whole(1, 4)
    direction = s.pick(("forward", "reverse", "bidirectional"))
    count = 2 if direction == "bidirectional" else 1
    inputs = [
        source,
        s.constant(s.floats((count, gates * size, features))),
        s.constant(s.floats((count, gates * size, size))),
        s.constant(s.floats((count, 2 * gates * size))) if s.yes() else "",
    ]
    if s.yes(3):
        inputs += ["", s.constant(s.floats((count, batch, size)))]
        if kind == "LSTM":
            inputs.append(s.constant(s.floats((count, batch, size))))
            if s.yes():
                inputs.append(s.constant(s.floats((count, 3 * size))))
    given: dict[str, Any] = {"hidden_size": size} | ({"direction": direction} if count > 1 or s.yes() else {})
    if direction == "reverse":
        given["direction"] = direction
    if kind == "GRU":
        given |= s.optional(linear_before_reset=s.whole(0, 1))
    outputs = 3 if kind == "LSTM" else 2
    made = s.add(kind, *inputs, outputs=outputs, **given)
    return [s.pick(made)] if made else []


def attention(s: Sketch) -> list[str]:
    """ONNX's own Attention, RotaryEmbedding and SwiGLU."""
    x = s.tensor((4,))
    if not x:
        return []
    _n, _heads, length, width = s.shape(x)
    if s.yes() or width % 2:
        return s.add("Attention", x, x, x, **s.optional(is_causal=s.whole(0, 1), scale=0.5))
    angles = s.floats((length, width // 2), -3, 3)
    places = s.constant(np.arange(length).reshape(1, -1), np.int64)
    return s.add(
        "RotaryEmbedding", x, s.constant(np.cos(angles)), s.constant(np.sin(angles)), places,
        **s.optional(interleaved=s.whole(0, 1)),
    )  # fmt: skip


def small_matrix(s: Sketch) -> list[str]:
    """Det of small matrices."""
    x = s.tensor()
    size = math.prod(s.shape(x))
    side = s.pick([n for n in (1, 2, 3) if size % (n * n) == 0])
    square = s.add("Reshape", x, s.ints([*factors(s, size // (side * side), s.whole(1, 2)), side, side]))
    return s.add("Det", *square) if square else []


def signal(s: Sketch) -> list[str]:
    """DFT of real rows, each way of asking, and STFT."""
    x = s.tensor()
    size = math.prod(s.shape(x))
    rows = s.pick([f for f in range(1, 5) if size % f == 0])
    real = s.add("Reshape", x, s.ints([rows, size // rows, 1]))
    if not real:
        return []
    given = s.optional(onesided=s.whole(0, 1))
    if s.yes(3):
        window = s.constant(s.floats([min(4, size // rows)], 0.1, 1))
        return s.add("STFT", *real, s.constant(2, np.int64), window, **given)
    if s.opset >= 20:
        return s.add("DFT", *real, "", s.constant(s.pick((1, -2)), np.int64), **given)
    return s.add("DFT", *real, axis=1, **given)


KINDS = {
    "matmul": matmul, "gemm": gemm, "einsum": einsum, "recurrent": recurrent, "attention": attention,
    "small matrix": small_matrix, "signal": signal,
}  # fmt: skip
