"""Lines of 3x3 depthwise outputs as assembly for cores with the DSP instructions, printed per stride and shift.

``mg_three_*(plane, by, out, w)`` computes ``by->lines`` lines of one channel. The plane holds pairs of neighbours as
words, those of all rows at one place side by side. Registers: r0 place in the plane, r2 output, r3-r5 the kernel rows'
words (w0, w1), r6-r8 their words (w1, w2), lr bytes between outputs; r1 and r12 sums; r9-r11 a column of words, then
what rescales. Stack: 0 multiplier, 4 and 8 offset, 12 to 28 what ``by`` holds from length to odd, 32 lines left, 36
where the line's pairs end.
"""

from __future__ import annotations

ROWS = 8
"""Rows of a plane."""
_COLUMN = 4 * ROWS

_LOAD = "ldm.w r0, {r9, r10, r11}"
_NEXT = f"adds r0, #{_COLUMN}"


def three_lines_function(name: str, stride: int, shift: int) -> str:
    """The C function ``name`` for outputs ``stride`` (1 or 2) apart; ``shift``: of the rescaled sum's upper word."""
    lines = [
        "push {r4-r11, lr}",
        "sub sp, #44",
        "mov r12, r3",
        "ldm r1, {r4-r11}",
        "ldm r4, {r1, r3, r4}",
        "stm sp, {r1, r3-r9}",
        "add r5, r0",
        "strd r11, r5, [sp, #32]",
        "mov lr, r10",
        *_weights(),
        "1:",
        *(_pairs(shift) if stride == 1 else _singles(shift)),
        "4:",
        "ldrd r9, r10, [sp, #16]",
        "ldr r11, [sp, #24]",
        "add r0, r10",
        "add r2, r11",
        "ldrd r11, r10, [sp, #32]",
        "add r10, r9",
        "subs r11, #1",
        "strd r11, r10, [sp, #32]",
        "bne.w 1b",
        "add sp, #44",
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
        lines += [f"pkhbt r{3 + row}, r9, r10, lsl #16", f"pkhbt r{6 + row}, r10, r11, lsl #16"]
    return lines


def _begin(to: str) -> list[str]:
    """A sum with the first two taps of each kernel row."""
    return [f"smuad {to}, r9, r3", f"smlad {to}, r10, r4, {to}", f"smlad {to}, r11, r5, {to}"]


def _end(to: str) -> list[str]:
    """The sum with the last tap of each kernel row, which is its column's lower half."""
    return [f"smlabt {to}, r{column}, r{weights}, {to}" for column, weights in ((9, 6), (10, 7), (11, 8))]


def _rescale(of: str, shift: int, loaded: bool = False) -> list[str]:
    load = "ldrd r10, r11, [sp, #4]" if loaded else "ldm.w sp, {r9, r10, r11}"
    return [load, f"smlal r10, r11, {of}, r9", f"ssat {of}, #8, r11{f', asr #{shift}' if shift else ''}"]


_UNTIL_END = ("ldr r9, [sp, #36]", "cmp r0, r9")


def _pairs(shift: int) -> list[str]:
    """Two outputs from two columns, the second beginning in the middle of the first's words."""
    middle = [
        "smultb r12, r9, r3", "smlatb r12, r10, r4, r12", "smlatb r12, r11, r5, r12",
    ]  # fmt: skip
    rest = [f"smlad r12, r{column}, r{weights}, r12" for column, weights in ((9, 6), (10, 7), (11, 8))]
    return [
        "2:", _LOAD, *_begin("r1"), *middle, _NEXT, _LOAD, *_end("r1"), *rest,
        *_rescale("r1", shift), *_rescale("r12", shift, loaded=True),
        "strb r1, [r2]", "strb.w r12, [r2, lr]", "add r2, r2, lr, lsl #1", *_UNTIL_END, "bne 2b",
        "ldr r9, [sp, #28]", "cmp r9, #0", "beq 4f",
        _LOAD, *_begin("r1"), f"add r12, r0, #{_COLUMN}", "ldm.w r12, {r9, r10, r11}", *_end("r1"),
        *_rescale("r1", shift), "strb r1, [r2]", "add r2, lr",
    ]  # fmt: skip


def _singles(shift: int) -> list[str]:
    """A column ends one output and begins the next."""

    def one(this: str, following: str) -> list[str]:
        return [_NEXT, _LOAD, *_end(this), *_begin(following), *_rescale(this, shift), f"strb.w {this}, [r2]",
                "add r2, lr", *_UNTIL_END]  # fmt: skip

    return [_LOAD, *_begin("r1"), "2:", *one("r1", "r12"), "beq 3f", *one("r12", "r1"), "bne 2b", "3:"]
