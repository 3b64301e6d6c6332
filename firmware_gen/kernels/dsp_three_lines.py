"""Lines of 3x3 depthwise outputs as assembly for cores with the DSP instructions, printed per stride and shift.

``mg_three_*(plane, by, out, w)`` computes ``by->lines`` lines of one channel. The plane holds pairs of neighbours as
words, those of all rows at one place side by side. Registers: r0 place in the plane, r2 output, r3-r5 the kernel rows'
words (w0, w1), r6-r8 their words (w1, w2), lr bytes between outputs; r1 and r12 sums; r9-r11 a column of words, then
what rescales. Stack: 0 multiplier, 4 what is added, 8 where the line's pairs end, 12 lines left, 16 to 28 what ``by``
holds from step to odd, 32 where the line's first pair enters the unrolled loop.

The plane's values are 256 times the inputs', weights here 32 times what they are: sums are 8192 times as large, so that
the upper word of one product tells them apart exactly.
"""

from __future__ import annotations

import numpy as np

from multigraft.firmware_gen.arithmetic.accumulators import COMMON_SHIFT, Layer
from multigraft.firmware_gen.arithmetic.requantise import Upper

ROWS = 8
"""Rows of a plane."""
_WEIGHT_BITS = 5
FACTOR = 256 << _WEIGHT_BITS
"""What sums are multiplied by."""
_MARKS = 64
"""Numbers that are tried for what lies below each value in the plane."""
_COLUMN = 4 * ROWS

_LOAD = "ldm.w r0, {r9, r10, r11}"
_NEXT = f"add.w r0, r0, #{_COLUMN}"
_TURNS, _TURN_BYTES = 4, 92
"""How often the loop over pairs of outputs is unrolled, and what a turn takes of code."""
_ENTRY = (
    "lsr r1, r5, #5", "negs r1, r1", f"and r1, r1, #{_TURNS - 1}", f"movs r3, #{_TURN_BYTES}", "mul r1, r3, r1",
    "adr.w r3, 2f", "add r1, r3", "adds r1, #1", "str r1, [sp, #32]",
)  # fmt: skip


def three_lines_function(name: str, stride: int, shift: int) -> str:
    """The C function ``name`` for outputs ``stride`` (1 or 2) apart; ``shift``: of the rescaled sum's upper word."""
    lines = [
        "push {r4-r11, lr}",
        "sub sp, #36",
        "mov r12, r3",
        "ldm r1, {r4-r11}",
        "ldm r4, {r1, r3}",
        "strd r1, r3, [sp]",
        *(_ENTRY if stride == 1 else ()),
        "add r5, r0",
        "strd r5, r11, [sp, #8]",
        "strd r6, r7, [sp, #16]",
        "strd r8, r9, [sp, #24]",
        "mov lr, r10",
        *_weights(),
        "1:",
        *(_pairs(shift) if stride == 1 else _singles(shift)),
        "4:",
        "ldrd r9, r10, [sp, #8]",
        "ldrd r11, r12, [sp, #16]",
        "ldr r1, [sp, #24]",
        "add r9, r11",
        "add r0, r12",
        "add r2, r1",
        "subs r10, #1",
        "strd r9, r10, [sp, #8]",
        "bne.w 1b",
        "add sp, #36",
        "pop {r4-r11, pc}",
    ]
    text = "\n".join(f'        "{line}\\n"' for line in lines)
    return (
        f"static __attribute__((naked, noinline, unused)) void {name}(const uint32_t *plane __attribute__((unused)),\n"
        "    const mg_three_lines *by __attribute__((unused)), int8_t *out __attribute__((unused)),\n"
        "    const int8_t *w __attribute__((unused)))\n"
        f'{{\n    __asm__ volatile(\n        ".syntax unified\\n"\n{text});\n}}\n'
    )


def _weights() -> list[str]:
    lines = []
    for row in range(3):
        lines += [f"ldrsb r{9 + tap}, [r12, #{3 * row + tap}]" for tap in range(3)]
        for first, to in ((9, 3 + row), (10, 6 + row)):
            lines += [f"lsl r{first}, r{first}, #{_WEIGHT_BITS}"]
            lines += [f"pkhbt r{to}, r{first}, r{first + 1}, lsl #{16 + _WEIGHT_BITS}"]
    return lines


def _begin(to: str) -> list[str]:
    """A sum with the first two taps of each kernel row."""
    return [f"smuad {to}, r9, r3", f"smlad {to}, r10, r4, {to}", f"smlad {to}, r11, r5, {to}"]


def _end(to: str) -> list[str]:
    """The sum with the last tap of each kernel row, which is its column's lower half."""
    return [f"smlabt {to}, r{column}, r{weights}, {to}" for column, weights in ((9, 6), (10, 7), (11, 8))]


_SCALES = "ldm.w sp, {r9, r10, r11}"


def _rescale(of: str, shift: int) -> list[str]:
    return [f"smmla {of}, {of}, r9, r10", f"ssat {of}, #8, {of}{f', asr #{shift}' if shift else ''}"]


def _pairs(shift: int) -> list[str]:
    """Two outputs from two columns, the second beginning in the middle of the first's words; so many turns unrolled."""
    middle = [
        "smultb r12, r9, r3", "smlatb r12, r10, r4, r12", "smlatb r12, r11, r5, r12",
    ]  # fmt: skip
    rest = [f"smlad r12, r{column}, r{weights}, r12" for column, weights in ((9, 6), (10, 7), (11, 8))]
    turn = [
        _LOAD, *_begin("r1"), *middle, _NEXT, _LOAD, *_end("r1"), *rest,
        _SCALES, *_rescale("r1", shift), *_rescale("r12", shift),
        "strb.w r1, [r2]", "strb.w r12, [r2, lr]", "add.w r2, r2, lr, lsl #1",
    ]  # fmt: skip
    assert len(turn) * 4 == _TURN_BYTES
    return [
        # Turns that do not fill the unrolled loop enter it later.
        "ldr.w pc, [sp, #32]", ".balign 4", "2:", f".rept {_TURNS}", *turn, ".endr", "cmp r0, r11", "bne.w 2b",
        "ldr r9, [sp, #28]", "cmp r9, #0", "beq 4f",
        _LOAD, *_begin("r1"), f"add r12, r0, #{_COLUMN}", "ldm.w r12, {r9, r10, r11}", *_end("r1"),
        _SCALES, *_rescale("r1", shift), "strb r1, [r2]", "add r2, lr",
    ]  # fmt: skip


def _singles(shift: int) -> list[str]:
    """A column ends one output and begins the next."""

    def one(this: str, following: str) -> list[str]:
        return [_NEXT, _LOAD, *_end(this), *_begin(following), _SCALES, *_rescale(this, shift),
                f"strb.w {this}, [r2]", "add r2, lr"]  # fmt: skip

    # An odd number of outputs enters the loop over two in its middle.
    odd = ["ldr.w r9, [sp, #28]", "mov r12, r1", "cmp.w r9, #0", "bne 3f"]
    return [_LOAD, *_begin("r1"), *odd, "2:", *one("r1", "r12"), "3:", *one("r12", "r1"), "cmp r0, r11", "bne 2b"]


def rescaling_three(layer: Layer) -> tuple[int, tuple[Upper, ...]] | None:
    """A mark, 0 to 255, and what rescales each channel if it lies below every value in the plane, or None.

    The mark adds to each channel's sums what depends on its weights alone, and so is one more thing to try.
    """
    if "three lines" not in layer.found:
        layer.found["three lines"] = _search(layer)
    found: tuple[int, tuple[Upper, ...]] | None = layer.found["three lines"]
    return found


def _search(layer: Layer) -> tuple[int, tuple[Upper, ...]] | None:
    sums = (layer.weights.astype(np.int64).sum(1) << _WEIGHT_BITS).tolist()
    shifts = layer.upper_shifts(COMMON_SHIFT - 2)
    # Each shift is a function more: all marks are tried at the common one before.
    for some in (shifts[:1], shifts[1:]):
        for mark in range(_MARKS):
            upper = layer.upper((FACTOR,), some, [np.array([mark * s], np.int64) for s in sums])
            if upper is not None:
                return mark, upper
    return None
