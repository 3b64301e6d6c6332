"""Convolutions and pooling in one to three dimensions: asymmetric pads, auto_pad, ceil_mode, dilations, groups."""

from __future__ import annotations

from typing import Any

from tests.fuzz.sketch import Sketch

_RANKS = (4, 4, 3, 5)


def spatial(s: Sketch) -> str:
    """A tensor of 3 to 5 dimensions, mostly 4."""
    return s.tensor((s.pick(_RANKS),)) or s.tensor((4,)) or s.tensor((3, 5))


def window(s: Sketch, x: str, with_dilations: bool = True) -> dict[str, Any]:
    """Kernel, strides, dilations and padding that fit the positions of ``x``."""
    sizes = s.shape(x)[2:]
    kernel = [s.whole(1, min(4, size)) for size in sizes]
    given: dict[str, Any] = {"kernel_shape": kernel}
    given |= s.optional(strides=[s.whole(1, 3) for _ in sizes])
    if with_dilations and s.yes(3):
        given["dilations"] = [
            s.whole(1, min(3, (size - 1) // (k - 1))) if k > 1 else 1 for k, size in zip(kernel, sizes, strict=True)
        ]
    if s.yes(3):
        given["auto_pad"] = s.pick(("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"))
    if given.get("auto_pad", "NOTSET") == "NOTSET" and s.yes():
        most = [max(0, k - 1) for k in kernel]
        given["pads"] = [s.whole(0, m) for m in (*most, *most)]
    return given


def conv(s: Sketch) -> list[str]:
    """Conv, grouped or not, with or without bias."""
    x = spatial(s)
    if not x:
        return []
    given = window(s, x)
    channels = s.shape(x)[1]
    group = s.pick([g for g in range(1, channels + 1) if channels % g == 0])
    weight = (group * s.whole(1, 3), channels // group, *given["kernel_shape"])
    inputs = [x, s.constant(s.floats(weight))]
    if s.yes():
        inputs.append(s.constant(s.floats(weight[:1])))
    if s.yes(4):
        del given["kernel_shape"]
    return s.add("Conv", *inputs, **given, **({"group": group} if group > 1 else {}))


def conv_transpose(s: Sketch) -> list[str]:
    """ConvTranspose with output_padding or output_shape."""
    x = spatial(s)
    if not x:
        return []
    given = window(s, x)
    channels = s.shape(x)[1]
    group = s.pick([g for g in range(1, channels + 1) if channels % g == 0])
    weight = (channels, s.whole(1, 3), *given["kernel_shape"])
    strides = given.get("strides", [1] * len(given["kernel_shape"]))
    if s.yes(3):
        given["output_padding"] = [s.whole(0, n - 1) for n in strides]
    elif s.yes(4):
        given["output_shape"] = [size * n for size, n in zip(s.shape(x)[2:], strides, strict=True)]
    inputs = [x, s.constant(s.floats(weight))]
    if s.yes():
        inputs.append(s.constant(s.floats([weight[1] * group])))
    return s.add("ConvTranspose", *inputs, **given, **({"group": group} if group > 1 else {}))


def pool(s: Sketch) -> list[str]:
    """MaxPool, AveragePool or LpPool."""
    x, kind = spatial(s), s.pick(("MaxPool", "AveragePool", "LpPool"))
    if not x:
        return []
    version = s.version(kind)
    given = window(s, x, with_dilations=version >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[kind])
    if version >= {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[kind]:
        given |= s.optional(ceil_mode=s.whole(0, 1))
    if kind == "AveragePool":
        given |= s.optional(count_include_pad=s.whole(0, 1))
    if kind == "LpPool":
        given |= s.optional(p=s.whole(1, 3))
    if kind == "MaxPool" and s.yes(10):
        return s.add(kind, x, outputs=2, **given)[:1]
    return s.add(kind, x, **given)


def global_pool(s: Sketch) -> list[str]:
    """Pooling over all positions."""
    kind, x = s.pick(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")), spatial(s)
    given = s.optional(p=s.whole(1, 3)) if kind == "GlobalLpPool" else {}
    return s.add(kind, x, **given) if x else []


def unpool(s: Sketch) -> list[str]:
    """MaxUnpool behind the MaxPool whose indices it takes."""
    x = s.tensor((4,))
    if not x or min(s.shape(x)[2:]) < 2:
        return []
    made = s.add("MaxPool", x, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    return s.add("MaxUnpool", *made, kernel_shape=[2, 2], strides=[2, 2]) if made else []


def deform(s: Sketch) -> list[str]:
    """DeformConv with constant or computed offsets, with or without mask."""
    x = s.tensor((4,))
    if not x:
        return []
    _, channels, height, width = s.shape(x)
    k = s.whole(1, 2)
    out = (height - k + 1, width - k + 1)
    if min(out) < 1:
        return []
    offset = s.constant(s.floats((1, 2 * k * k, *out)))
    inputs = [x, s.constant(s.floats((2, channels, k, k))), offset]
    if s.yes():
        inputs += [s.constant(s.floats([2])), s.constant(s.floats((1, k * k, *out), 0, 1))]
    return s.add("DeformConv", *inputs, kernel_shape=[k, k])


def columns(s: Sketch) -> list[str]:
    """Col2Im of overlapping blocks."""
    x = s.tensor((4,))
    if not x:
        return []
    n, c, h, w = s.shape(x)
    k = s.whole(1, 2)
    if min(h, w) < k:
        return []
    blocks = s.add("Conv", x, s.constant(s.floats((c * k * k, c, k, k))), kernel_shape=[k, k])
    if not blocks:
        return []
    flat = s.add("Reshape", *blocks, s.ints([n, c * k * k, (h - k + 1) * (w - k + 1)]))
    return s.add("Col2Im", *flat, s.ints([h, w]), s.ints([k, k])) if flat else []


KINDS = {
    "conv": conv, "conv transpose": conv_transpose, "pool": pool, "global pool": global_pool, "unpool": unpool,
    "deform": deform, "columns": columns,
}  # fmt: skip
