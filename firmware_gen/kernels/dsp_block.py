"""The innermost kernel of :mod:`.dsp_convolution` as assembly, printed per rescaling variant.

``mg_block_*(column, stream, pairs, out0, out1, blocks)`` computes ``4 * blocks`` channels of two pixels, or of one.
Registers: r0 column, r1 stream, r4-r7 first pixel, r8-r11 second pixel; r2, r3, r12, lr are temporary. Stack: 0 column,
4 its end, 8 where to enter the unrolled loop, 12 and 16 outputs, 20 blocks left.
"""

from __future__ import annotations

UNROLLED = 16
"""Pairs of inputs per turn of the innermost loop."""

_ODD = ((5, 4), (7, 6), (9, 8), (11, 10))
"""Register that holds 256 * b + a, register that holds a."""


_TWO_PIXELS = (
    "ldm.w r1!, {r2, r3}",
    "ldm.w r0!, {r12, lr}",
    "smlad r5, r2, r12, r5",
    "smlad r9, r2, lr, r9",
    "sxtb16 r2, r2",
    "smlad r4, r2, r12, r4",
    "smlad r8, r2, lr, r8",
    "smlad r7, r3, r12, r7",
    "smlad r11, r3, lr, r11",
    "sxtb16 r3, r3",
    "smlad r6, r3, r12, r6",
    "smlad r10, r3, lr, r10",
)
_ONE_PIXEL = (
    "ldm.w r1!, {r2, r3}",
    "ldr.w r12, [r0], #4",
    "smlad r5, r2, r12, r5",
    "sxtb16 r2, r2",
    "smlad r4, r2, r12, r4",
    "smlad r7, r3, r12, r7",
    "sxtb16 r3, r3",
    "smlad r6, r3, r12, r6",
)
"""Every instruction takes four bytes, so that the loop can be entered at any pair."""


def block_function(name: str, variant: str, pixels: int) -> str:
    """The C function ``name`` for one or two pixels and a variant: ``affine_<shift - 32>`` or ``exact``."""
    two = pixels == 2
    lines = [
        "push {r4-r11, lr}",
        "sub sp, #28",
        "str r0, [sp]",
        f"add r12, r0, r2, lsl #{3 if two else 2}",
        "str r12, [sp, #4]",
        "ldrd r4, r5, [sp, #64]",
        "str r3, [sp, #12]",
        "strd r4, r5, [sp, #16]",
        # The first turn of the loop does what is left over; a pair takes 48 bytes of code, or 32.
        f"movs r4, #{UNROLLED}",
        "subs r2, #1",
        "udiv r5, r2, r4",
        "mls r2, r5, r4, r2",
        f"rsb r2, r2, #{UNROLLED - 1}",
        *(("add r2, r2, r2, lsl #1",) if two else ()),
        "adr r4, 3f",
        f"add r2, r4, r2, lsl #{4 if two else 5}",
        "adds r2, #1",
        "str r2, [sp, #8]",
        "1:",
        *(f"mov r{r}, #0" for r in range(4, 4 + 4 * pixels)),
        "ldr r2, [sp, #8]",
        "bx r2",
        ".balign 4",
        "3:",
        f".rept {UNROLLED}",
        *(_TWO_PIXELS if two else _ONE_PIXEL),
        ".endr",
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "bne.w 3b",
        *(_affine(variant, pixels) if variant != "exact" else _exact(pixels)),
        "ldrd r2, r3, [sp, #12]",
        *(f"strb r{8 + i}, [r3], #1" for i in range(4 if two else 0)),
        *(f"strb r{4 + i}, [r2], #1" for i in range(4)),
        "strd r2, r3, [sp, #12]",
        "ldr r2, [sp, #20]",
        "ldr r0, [sp]",
        "subs r2, #1",
        "str r2, [sp, #20]",
        "bne.w 1b",
        "add sp, #28",
        "pop {r4-r11, pc}",
    ]
    text = "\n".join(f'        "{line}\\n"' for line in lines)
    return (
        f"static __attribute__((naked, noinline, unused)) void {name}(MG_BLOCK_ARGUMENTS)\n"
        f'{{\n    __asm__ volatile(\n        ".syntax unified\\n"\n{text});\n}}\n'
    )


def _affine(variant: str, pixels: int) -> list[str]:
    shift = int(variant.removeprefix("affine_"))
    lines = [f"sub r{odd}, r{odd}, r{even}" for odd, even in _ODD[: 2 * pixels]]
    for channel in range(4):
        # Sums of odd channels are 256 times what they should be, and so are their offsets.
        places = shift + 8 * (channel % 2)
        saturate = f", asr #{places}" if places else ""
        if pixels == 1:
            lines += [
                "ldm r1!, {r2, r3, r12}",
                f"smlal r3, r12, r{4 + channel}, r2",
                f"ssat r{4 + channel}, #8, r12{saturate}",
            ]
            continue
        lines += [
            "ldm r1!, {r2, r3, r12}",
            "mov r0, r3",
            "mov lr, r12",
            f"smlal r0, lr, r{4 + channel}, r2",
            f"smlal r3, r12, r{8 + channel}, r2",
            f"ssat r{4 + channel}, #8, lr{saturate}",
            f"ssat r{8 + channel}, #8, r12{saturate}",
        ]
    return lines


def _exact(pixels: int) -> list[str]:
    """The reference itself: SMMULR of the doubled sum rounds at bit 31, the sign added rounds halves away from 0."""
    lines = [f"sub r{odd}, r{odd}, r{even}" for odd, even in _ODD[: 2 * pixels]]
    for channel in range(4):
        # r2 doubled bias, r3 multiplier, r12 rounding and zero point, lr shift
        lines.append("ldm r1!, {r2, r3, r12, lr}")
        for register in (4 + channel, 8 + channel)[:pixels]:
            doubled = "asr #7" if channel % 2 else "lsl #1"
            lines += [
                f"add r{register}, r2, r{register}, {doubled}",
                f"smmulr r{register}, r{register}, r3",
                f"add r{register}, r{register}, r{register}, asr #31",
                f"add r{register}, r{register}, r12",
                f"asr r{register}, r{register}, lr",
                f"ssat r{register}, #8, r{register}",
            ]
    return lines
