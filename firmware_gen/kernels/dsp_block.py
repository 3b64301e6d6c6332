"""The innermost kernel of :mod:`.dsp_convolution` as assembly, printed per rescaling variant.

``mg_block_*(column, stream, out, by, second, third)`` computes two channels of three pixels at a time, as many channels
as the stream has; the second and the third pixel's outputs lie so many bytes behind ``out``. Registers: r0 column, r1
stream, r4, r6, r8 sums of even channels, r5, r7, r9 of odd ones; r2, r3 and r10 weights, r11, r12 and lr inputs. Stack:
0 column, 4 out, 8 second, 12 end of the stream, 16 third, 20 end of the column, 24 where a turn of channels enters,
28 where it enters the unrolled loop, 32 where that goes on.

``mg_block_one_*(column, stream, pairs, out, blocks)`` computes ``4 * blocks`` channels of one pixel. Registers:
r0 column, r1 stream, r4-r7 sums; r2, r3, r12 are temporary. Stack: 0 column, 4 its end, 8 where to enter the unrolled
loop, 12 output, 16 blocks left.
"""

from __future__ import annotations

GROUPS = 10
"""Turns of the innermost loop's body, each three pairs of inputs, that are unrolled."""
_PAIRS = 3
"""Pairs of inputs whose weights are loaded at once."""
_ONE_UNROLLED = 16
"""Pairs of inputs per turn of the innermost loop for one pixel."""
_WORD = 4
"""Bytes of every instruction where the loop is entered at any place."""

_WEIGHTS = ("r2", "r3", "r10")
_EVEN, _ODD = ("r4", "r6", "r8"), ("r5", "r7", "r9")
_INPUTS = ("r11", "r12", "lr")


def _group(pairs: int) -> list[str]:
    """Products of so many pairs of inputs."""
    lines = [f"ldm.w r1!, {{{', '.join(_WEIGHTS[:pairs])}}}" if pairs > 1 else "ldr.w r2, [r1], #4"]
    for w in _WEIGHTS[:pairs]:
        lines.append(f"ldm.w r0!, {{{', '.join(_INPUTS)}}}")
        lines += [f"smlad {to}, {w}, {x}, {to}" for to, x in zip(_ODD, _INPUTS, strict=True)]
        lines.append(f"sxtb16 {w}, {w}")
        lines += [f"smlad {to}, {w}, {x}, {to}" for to, x in zip(_EVEN, _INPUTS, strict=True)]
    return lines


def _first(together: bool) -> list[str]:
    """Products of the first pair of inputs: sums of all pixels begin with the two of the first one. ``together``: the
    odd channel's and the even one's begin with the same, and odd ones hold both until the even one's is taken away."""
    pixels = list(zip(_ODD, _EVEN, _INPUTS, strict=True))[::-1]
    return [
        *(("ldm.w r1!, {r2, r4}", "lsl r5, r4, #1") if together else ("ldm.w r1!, {r2, r4, r5}",)),
        f"ldm.w r0!, {{{', '.join(_INPUTS)}}}",
        *(f"smlad {odd}, r2, {x}, {_ODD[0]}" for odd, _, x in pixels),
        "sxtb16 r2, r2",
        *(f"smlad {even}, r2, {x}, {_EVEN[0]}" for _, even, x in pixels),
    ]


def turns(pairs: int, stream_bytes: int) -> tuple[int, int, int, int, int]:
    """What ``mg_turns`` holds for a column of so many pairs: see there.

    The first pair comes before the places that are entered.

    Places are relative to the unrolled loop, its lowest bit is that of Thumb code.
    """
    groups, rest = divmod(pairs - 1, _PAIRS)
    group = _WORD * len(_group(_PAIRS))
    more = GROUPS * group + _WORD
    done = more + len(_MORE) * _WORD
    loop = (-groups % GROUPS) * group if groups else done
    tails = {1: -_WORD * (len(_group(1)) + 1), 2: -_WORD * (len(_group(1)) + len(_group(2)) + 2)}
    return tails.get(rest, loop) + 1, loop + 1, (more if groups > GROUPS else done) + 1, pairs, stream_bytes


_MORE = ("ldr.w r2, [sp, #20]", "cmp.w r0, r2", "bne.w 3b")


def block_function(name: str, variant: str) -> str:
    """The C function ``name`` for three pixels and a variant: ``upper_<shift>`` or ``exact``."""
    lines = [
        "push {r4-r11, lr}",
        "sub sp, #36",
        *(f"ldrsh r{4 + place}, [r3, #{2 * place}]" for place in range(3)),
        "ldrh r7, [r3, #6]",
        "ldr r8, [r3, #8]",
        "add r7, r7, r7, lsl #1",
        "ldrd r9, r10, [sp, #72]",
        "adr.w r11, 3f",
        "add r4, r11",
        "add r5, r11",
        "add r6, r11",
        "add r7, r0, r7, lsl #2",
        "add r8, r1",
        "strd r0, r2, [sp]",
        "strd r9, r8, [sp, #8]",
        "strd r10, r7, [sp, #16]",
        "strd r4, r5, [sp, #24]",
        "str r6, [sp, #32]",
        "1:",
        *_first(together=variant != "exact"),
        "ldr.w pc, [sp, #24]",
        ".balign 4",
        *_group(2),
        "ldr.w pc, [sp, #28]",
        *_group(1),
        "ldr.w pc, [sp, #28]",
        "3:",
        f".rept {GROUPS}",
        *_group(_PAIRS),
        ".endr",
        "ldr.w pc, [sp, #32]",
        *_MORE,
        *(f"sub {odd}, {odd}, {even}" for odd, even in zip(_ODD, _EVEN, strict=True)),
        *(_exact() if variant == "exact" else _upper(int(variant.removeprefix("upper_")))),
        "ldm.w sp, {r0, r2, r3, r10, r12}",
        *(f"bfi {even}, {odd}, #8, #8" for odd, even in zip(_ODD, _EVEN, strict=True)),
        # Backwards, as pixels that are there once again for want of others must not come last.
        "strh r8, [r2, r12]",
        "strh r6, [r2, r3]",
        "strh r4, [r2], #2",
        "str r2, [sp, #4]",
        "cmp r1, r10",
        "bne.w 1b",
        "add sp, #36",
        "pop {r4-r11, pc}",
    ]
    return _function(name, "MG_BLOCK_ARGUMENTS", lines)


def one_pixel_function(name: str, variant: str) -> str:
    """The C function ``name`` for one pixel and a variant: ``affine_<shift - 32>`` or ``exact``."""
    body = (
        "ldm.w r1!, {r2, r3}",
        "ldr.w r12, [r0], #4",
        "smlad r5, r2, r12, r5",
        "sxtb16 r2, r2",
        "smlad r4, r2, r12, r4",
        "smlad r7, r3, r12, r7",
        "sxtb16 r3, r3",
        "smlad r6, r3, r12, r6",
    )
    lines = [
        "push {r4-r11, lr}",
        "sub sp, #20",
        "str r0, [sp]",
        "add r12, r0, r2, lsl #2",
        "str r12, [sp, #4]",
        "ldr r4, [sp, #56]",
        "strd r3, r4, [sp, #12]",
        # The first turn of the loop does what is left over; a pair takes 32 bytes of code.
        f"movs r4, #{_ONE_UNROLLED}",
        "subs r2, #1",
        "udiv r5, r2, r4",
        "mls r2, r5, r4, r2",
        f"rsb r2, r2, #{_ONE_UNROLLED - 1}",
        "adr r4, 3f",
        "add r2, r4, r2, lsl #5",
        "adds r2, #1",
        "str r2, [sp, #8]",
        "1:",
        *(f"mov r{r}, #0" for r in range(4, 8)),
        "ldr r2, [sp, #8]",
        "bx r2",
        ".balign 4",
        "3:",
        f".rept {_ONE_UNROLLED}",
        *body,
        ".endr",
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "bne.w 3b",
        "sub r5, r5, r4",
        "sub r7, r7, r6",
        *(_one_exact() if variant == "exact" else _one_affine(int(variant.removeprefix("affine_")))),
        "ldr r2, [sp, #12]",
        *(f"strb r{4 + i}, [r2], #1" for i in range(4)),
        "str r2, [sp, #12]",
        "ldr r2, [sp, #16]",
        "ldr r0, [sp]",
        "subs r2, #1",
        "str r2, [sp, #16]",
        "bne.w 1b",
        "add sp, #20",
        "pop {r4-r11, pc}",
    ]
    return _function(name, "MG_ONE_ARGUMENTS", lines)


def _function(name: str, arguments: str, lines: list[str]) -> str:
    text = "\n".join(f'        "{line}\\n"' for line in lines)
    return (
        f"static __attribute__((naked, noinline, unused)) void {name}({arguments})\n"
        f'{{\n    __asm__ volatile(\n        ".syntax unified\\n"\n{text});\n}}\n'
    )


def _upper(shift: int) -> list[str]:
    """Sums of odd channels are 256 times what they should be, and are shifted by eight more."""
    lines = ["ldm r1!, {r2, r3, r10, r11}"]
    for sums, by, added, places in ((_EVEN, "r2", "r3", shift), (_ODD, "r10", "r11", shift + 8)):
        for one in sums:
            lines.append(f"smmla {one}, {one}, {by}, {added}")
            lines.append(f"ssat {one}, #8, {one}" + (f", asr #{places}" if places else ""))
    return lines


def _exact() -> list[str]:
    """The reference itself: SMMULR of the doubled sum rounds at bit 31, the sign added rounds halves away from 0."""
    lines = []
    for sums, doubled in ((_EVEN, "lsl"), (_ODD, "asr")):
        # r2 multiplier, r3 rounding and zero point, r10 shift
        lines.append("ldm r1!, {r2, r3, r10}")
        for one in sums:
            lines += [
                f"{doubled} {one}, {one}, #{1 if doubled == 'lsl' else 7}",
                f"smmulr {one}, {one}, r2",
                f"add {one}, {one}, {one}, asr #31",
                f"add {one}, {one}, r3",
                f"asr {one}, {one}, r10",
                f"ssat {one}, #8, {one}",
            ]
    return lines


def _one_affine(shift: int) -> list[str]:
    lines = []
    for channel in range(4):
        # Sums of odd channels are 256 times what they should be, and so are their offsets.
        places = shift + 8 * (channel % 2)
        saturate = f", asr #{places}" if places else ""
        lines += [
            "ldm r1!, {r2, r3, r12}",
            f"smlal r3, r12, r{4 + channel}, r2",
            f"ssat r{4 + channel}, #8, r12{saturate}",
        ]
    return lines


def _one_exact() -> list[str]:
    lines = []
    for channel in range(4):
        register = 4 + channel
        # r2 doubled bias, r3 multiplier, r12 rounding and zero point, lr shift
        lines += [
            "ldm r1!, {r2, r3, r12, lr}",
            f"add r{register}, r2, r{register}, {'asr #7' if channel % 2 else 'lsl #1'}",
            f"smmulr r{register}, r{register}, r3",
            f"add r{register}, r{register}, r{register}, asr #31",
            f"add r{register}, r{register}, r12",
            f"asr r{register}, r{register}, lr",
            f"ssat r{register}, #8, r{register}",
        ]
    return lines
