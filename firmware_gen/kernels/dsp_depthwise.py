"""Depthwise convolutions for cores with the DSP instructions, of any kernel, stride, dilation and multiplier.

Channel by channel, a band of rows is widened to 16 bits with its padding; two neighbours make one word. A kernel row of
three taps is the words (w0, w1) and (w1, w2): of two words of inputs they give two outputs of stride 1 in four
instructions. Other kernels are laid out likewise, once for outputs that begin with a word and once for those that begin
in its middle. All shapes share one function.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import Layer, exact_rows, scaling
from multigraft.firmware_gen.arithmetic.geometry import Window
from multigraft.firmware_gen.arithmetic.requantise import Upper
from multigraft.firmware_gen.kernels.bands import LARGEST_PLANE, band_of, rows_of_band
from multigraft.firmware_gen.kernels.c_text import digest
from multigraft.firmware_gen.kernels.dsp_direct import TURN, direct_function, tap_bytes
from multigraft.firmware_gen.kernels.dsp_three_lines import ROWS, rescaling_three, three_lines_function
from multigraft.firmware_gen.kernels.kernel import LoweredLayer

_NARROW = 6
"""Outputs of a line from which on it is not worth while to turn the image."""
_WORTH = 0.9
"""Share of the instructions that makes up for working in place, which only planes do."""
_TOGETHER = 4
"""Outputs that the kernel for any shape computes at a time."""


def dsp_depthwise(layer: Layer, over: Window, ring: int | None = None) -> LoweredLayer:
    """The layer for these cores; with ``ring``, its input is a ring of that many rows."""
    turned = _turned(over)
    turns = ring is None and over.out_w <= _NARROW < over.out_h and _whole(layer, turned)
    # A column of pixels lies in memory as a row does, whose taps are in one turn.
    column = over.in_w == over.out_w == over.k_w == 1
    times = over.out_c // over.in_c
    # Rows of a ring are no block, which the assembly counts on.
    whole = ring is None or ring >= over.in_h
    four = whole and over.out_c >= _TOGETHER and (times == 1 or times % _TOGETHER == 0)
    direct = _direct_cost(turned if column else over) / _TOGETHER
    inside = times == 1 and over.pixels() <= over.in_h * over.in_w
    if four and direct < (_WORTH if inside else 1) * _planes_cost(layer, turned if turns else over):
        return _direct(layer, turned if column else over)
    if turns:
        taps = layer.weights.reshape(-1, over.k_h, over.k_w).swapaxes(1, 2).reshape(layer.weights.shape)
        return _lowered(replace(layer, weights=taps.copy()), turned, None, over)
    return _lowered(layer, over, ring, None)


def _direct(layer: Layer, over: Window) -> LoweredLayer:
    """The layer pixel by pixel, where planes would take more instructions for few outputs."""
    one = over.out_c > over.in_c
    fours = np.minimum(np.arange(0, over.out_c, _TOGETHER), over.out_c - _TOGETHER)[:, None] + np.arange(_TOGETHER)
    more = layer.input_zero_point * layer.weights.astype(np.int64).sum(1)
    if "centred" not in layer.found:
        layer.found["centred"] = layer.upper((1,), layer.upper_shifts(), more=more)
    upper: tuple[Upper, ...] | None = layer.found["centred"]
    exact = upper is None
    if upper is None:
        scales, number = exact_rows(replace(layer, bias=layer.bias + more))[fours], layer.rescalings[0].zero_point
    else:
        rows = np.array([(u.start, u.multiplier, u.added) for u in upper], "<i4")[fours]
        scales = np.concatenate([rows[:, :, 0], rows[:, :, 1:].reshape(len(fours), -1)], axis=1)
        number = upper[0].shift
    sums = f"mg_direct_{'one' if one else 'four'}{'_sums' if exact else ''}"
    functions = {sums: direct_function(sums, one, exact)}
    pixel = sums.replace("_sums", "_exact")
    if exact:
        functions[pixel] = (
            f"static void {pixel}(MG_DIRECT_ARGUMENTS)\n"
            f"{{\n    mg_direct_exact(from, w, out, scales, by, end, {sums});\n}}\n"
        )
    fields = (
        pixel, over.in_h, over.in_w, over.in_c, over.out_w, over.out_c, over.k_h, over.k_w, over.stride_h,
        over.stride_w, over.dilation_h, over.dilation_w, over.pad_h, over.pad_w, layer.input_zero_point,
        number, TURN, *tap_bytes(one), layer.low, layer.high,
    )  # fmt: skip
    shape = f"{{{', '.join(map(str, fields))}}}"
    name = f"direct_{digest(shape)}"
    functions[name] = f"static const mg_direct {name} = {shape};\n"
    constant = scales.tobytes() + np.ascontiguousarray(layer.weights[fours].swapaxes(1, 2)).tobytes()
    shared = f"mg_depthwise_direct_dsp(&{name}, "
    return LoweredLayer("", constant, 0, ("depthwise_direct_dsp.h",), 1, functions, False, shared)


def _direct_cost(over: Window) -> float:
    """Instructions four output channels take pixel by pixel, nearly."""

    def inside(outputs: int, taps: int, stride: int, dilation: int, pad: int, size: int) -> int:
        at = (np.arange(outputs) * stride - pad)[:, None] + np.arange(taps) * dilation
        return int(((at >= 0) & (at < size)).sum())

    rows = inside(over.out_h, over.k_h, over.stride_h, over.dilation_h, over.pad_h, over.in_h)
    columns = inside(over.out_w, over.k_w, over.stride_w, over.dilation_w, over.pad_w, over.in_w)
    tap = 11 if over.in_c == over.out_c else 10
    return tap * rows * columns + 9 * rows * over.out_w + (40 + 300 / over.out_c) * over.pixels()


def _planes_cost(layer: Layer, over: Window) -> float:
    """Instructions an output channel takes by planes, nearly."""
    three = _is_three(layer, over)
    rows, lines = rows_of_band(over, over.out_h), over.out_h
    widening = rows * (25 + 3.3 * min(over.in_w, 2 * _words(over, three)))
    if three:
        return 150 + widening + lines * (20 + 14 * over.out_w if over.stride_w == 2 else 16 + 13.5 * over.out_w)
    step = 10 if over.stride_w == 1 else 13
    turn = _columns(over) * over.k_h * step + 110
    band = _band(over, None, three)
    moving = 5 * (-(-lines // band) - 1) * max(over.span - over.stride_h, 0) * _words(over, three)
    return 150 + widening + moving + 12 * over.k_h * over.k_w + lines * (40 + -(-over.out_w // _TOGETHER) * turn)


def _turned(over: Window) -> Window:
    """The window with height and width exchanged."""
    return Window(
        over.in_w, over.in_h, over.in_c, over.out_w, over.out_h, over.out_c, over.k_w, over.k_h, over.stride_w,
        over.stride_h, over.dilation_w, over.dilation_h, over.pad_w, over.pad_h,
    )  # fmt: skip


def _lowered(layer: Layer, over: Window, ring: int | None, turned_from: Window | None) -> LoweredLayer:
    """The layer over lines of outputs, be they rows or, if it was turned, columns."""
    three = _three(layer, over)
    is_three = three is not None
    band = _band(over, ring, is_three)
    rows, words = (ROWS if three else rows_of_band(over, band)), _words(over, is_three)
    weights = 0 if three else 2 * over.k_h * _columns(over)
    in_line, in_pixel, out_line, out_pixel = over.in_w * over.in_c, over.in_c, over.out_w * over.out_c, over.out_c
    if turned_from is not None:
        in_line, in_pixel, out_line, out_pixel = in_pixel, over.in_h * over.in_c, out_pixel, over.out_h * over.out_c
    functions: dict[str, str] = {}
    if three is not None:
        mark, upper = three
        name = f"mg_three_{over.stride_w}_{upper[0].shift}"
        functions = {name: three_lines_function(name, over.stride_w, upper[0].shift)}
        calls, lines = f"{name}, NULL, mg_widen_high", name.replace("mg_three", "lines_three")
        scales = np.array([(one.multiplier, one.added) for one in upper], "<i4").tobytes()
        fill, exact, number = 256 * layer.input_zero_point + mark, 0, 0
    else:
        calls, lines, fill = "NULL, mg_any_by_any, mg_widen_rows", "lines_any", layer.input_zero_point
        scales, exact, number = scaling(layer)
    functions[lines] = f"static const mg_lines {lines} = {{{calls}}};\n"
    pixels, margin = min(over.in_w, 2 * words - over.pad_w), over.pad_w // 2 * rows
    fields = (
        in_line, in_pixel, out_line, out_pixel, f"&{lines}", over.in_h, over.out_h, over.out_w, over.out_c,
        over.out_c // over.in_c, over.k_h, over.k_w, over.stride_h, over.stride_w, over.dilation_h, over.dilation_w,
        ring or over.in_h, pixels, margin, band, rows, words, weights, over.pad_h, fill, number, over.pad_w % 2, exact,
        len(scales) // over.out_c, layer.low, layer.high,
    )  # fmt: skip
    shape = f"{{{', '.join(map(str, fields))}}}"
    name = f"shape_{digest(shape)}"
    functions[name] = f"static const mg_depthwise_shape {name} = {shape};\n"
    shared = f"mg_depthwise_dsp(&{name}, "
    constant = scales + layer.weights.tobytes()
    in_place = band == over.out_h or over.rows_in_time()
    scratch_bytes = 4 * (rows * words + weights)
    includes = ("affine_dsp.h", "widen_dsp.h", "depthwise_dsp.h")
    if ring is None and over.out_c > over.in_c and band < over.out_h:
        # Band by band of all channels, so that the output may lie over the input's bands that are done.
        body = (
            f"for (; first < last; first += {band * over.out_w}, out += {band * over.out_w * over.out_c})\n"
            f"        {shared}in, out, constants, scratch, first, mg_min(first + {band * over.out_w}, last));"
        )
        return LoweredLayer(body, constant, scratch_bytes, includes, band * over.out_w, functions)
    return LoweredLayer("", constant, scratch_bytes, includes, 1, functions, in_place, shared)


def _three(layer: Layer, over: Window) -> tuple[int, tuple[Upper, ...]] | None:
    """What the assembly rescales by; None if there is none for the layer."""
    plain = over.dilation_h == over.dilation_w == 1 and over.stride_w in (1, 2) and over.stride_h <= ROWS - 3
    return rescaling_three(layer) if plain and (over.k_h, over.k_w) == (3, 3) and over.out_w > 1 else None


def _is_three(layer: Layer, over: Window) -> bool:
    return _three(layer, over) is not None


def _band(over: Window, ring: int | None, three: bool) -> int:
    return band_of(over, ROWS if three else LARGEST_PLANE // (4 * _words(over, three)), ring)


def _whole(layer: Layer, over: Window) -> bool:
    """Whether one band holds all lines, so that none is written before all are read."""
    three = _is_three(layer, over)
    rows = ROWS if three else rows_of_band(over, over.out_h)
    return _band(over, None, three) == over.out_h and 4 * rows * _words(over, three) <= LARGEST_PLANE


def _columns(over: Window) -> int:
    """Words of two taps in a kernel row that may begin in the middle of one."""
    return ((over.k_w - 1) * over.dilation_w + 3) // 2


def _words(over: Window, three: bool) -> int:
    """Words in a row of the plane: as far as outputs are computed, those beyond the last one included."""
    if three:
        return (over.out_w + 1) // 2 + 1 if over.stride_w == 1 else over.out_w + 1
    last = (over.out_w - 1) // _TOGETHER * _TOGETHER
    return (last * over.stride_w) // 2 + over.stride_w + over.stride_w // 2 + _columns(over)
