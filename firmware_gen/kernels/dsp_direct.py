"""Depthwise outputs pixel by pixel as assembly for cores with the DSP instructions, printed per kind.

``mg_direct_*(from, w, out, scales, by, end)`` computes the channels of one pixel up to ``end``, four of as many input
channels at a time, or, where an input channel has several outputs, four of one. Four channels' weights lie tap by tap
side by side. Inputs are taken less the zero point, so that taps outside the image are left out. Registers: r0 and r1
places in input and weights, r2 rows left, r4-r7 sums, r8 zero point, r9 from tap to tap, lr turns left; r3 and r10-r12
are temporary. Stack: 0 to 28 the first fields of ``by``, the first of them as the place where a row enters the unrolled
loop, 32 to 44 ``from``, ``w``, ``out``, ``scales``, 84 ``by``, 88 ``end``.

Every other tap is reached from the one before it: a row with an odd number of taps begins a tap before its first one,
which is not read.
"""

from __future__ import annotations

TURN = 4
"""Taps of an unrolled turn."""
_FOUR = (
    "ldr.w r10, [r0{at}]",
    "ldr r11, [r1], #4",
    "sxtab16 r12, r8, r10",
    "sxtb16 r3, r11",
    "smlabb r4, r12, r3, r4",
    "smlatt r6, r12, r3, r6",
    "sxtab16 r12, r8, r10, ror #8",
    "sxtb16 r3, r11, ror #8",
    "smlabb r5, r12, r3, r5",
    "smlatt r7, r12, r3, r7",
)
_ONE = (
    "ldrsb.w r10, [r0{at}]",
    "ldr r11, [r1], #4",
    "add.w r10, r10, r8",
    "sxtb16 r3, r11",
    "sxtb16 r12, r11, ror #8",
    "smlabb r4, r10, r3, r4",
    "smlabb r5, r10, r12, r5",
    "smlabt r6, r10, r3, r6",
    "smlabt r7, r10, r12, r7",
)


def _pair(one: bool) -> tuple[list[str], list[str]]:
    """Two taps; every instruction takes four bytes."""
    tap = _ONE if one else _FOUR
    first, second = ([line.format(at=at) for line in tap] for at in ("", ", r9"))
    return first, [*second, "add.w r0, r0, r9, lsl #1"]


def tap_bytes(one: bool) -> tuple[int, int]:
    """Bytes of code of the first of two taps, and of both."""
    first, second = _pair(one)
    return 4 * len(first), 4 * len(first + second)


def direct_function(name: str, one: bool, exact: bool) -> str:
    """The C function ``name``: of one input channel, or four; ``exact``: sums come out as they are."""
    first, second = _pair(one)
    lines = [
        "push {r0-r11, lr}",
        "ldr r12, [sp, #52]",
        "mov r10, r3",
        "ldm r12, {r0-r9}",
        "adr.w r11, 3f",
        "add r0, r11",
        "sub sp, #32",
        "stm sp, {r0-r7}",
        "ldrd r0, r1, [sp, #32]",
        "mov r3, r10",
        "1:",
        *([f"movs r{r}, #0" for r in range(4, 8)] if exact else ["ldm r3!, {r4-r7}", "str r3, [sp, #44]"]),
        "ldr r2, [sp, #16]",
        "cmp r2, #0",
        "beq.w 4f",
        "2:",
        "ldr.w lr, [sp, #4]",
        "ldr.w pc, [sp]",
        ".balign 4",
        "3:",
        f".rept {TURN // 2}",
        *first,
        *second,
        ".endr",
        "subs.w lr, lr, #1",
        "bne.w 3b",
        "ldrd r10, r11, [sp, #8]",
        "add r0, r10",
        "add r1, r11",
        "subs r2, #1",
        "bne.w 2b",
        "4:",
        *(_SUMS if exact else _scaled()),
        "ldrd r0, r1, [sp, #32]",
        "ldrd r10, r11, [sp, #20]",
        "add r0, r10",
        "add r1, r11",
        "strd r0, r1, [sp, #32]",
        "ldr r10, [sp, #88]",
        "cmp r2, r10",
        "bne.w 1b",
        "add sp, #48",
        "pop {r4-r11, pc}",
    ]
    text = "\n".join(f'        "{line}\\n"' for line in lines)
    return (
        f"static __attribute__((naked, noinline, unused)) void {name}(MG_DIRECT_ARGUMENTS)\n"
        f'{{\n    __asm__ volatile(\n        ".syntax unified\\n"\n{text});\n}}\n'
    )


_SUMS = ("ldr r2, [sp, #40]", "stm r2!, {r4-r7}", "str r2, [sp, #40]")


def _scaled() -> list[str]:
    """Sums began with what four channels' do, behind which lie multiplier and what is added of each."""
    lines = ["ldrd r2, r3, [sp, #40]", "ldr.w lr, [sp, #28]"]
    for two in (("r4", "r5"), ("r6", "r7")):
        lines.append("ldm r3!, {r0, r1, r10, r11}")
        for sum_of, by, added in zip(two, ("r0", "r10"), ("r1", "r11"), strict=True):
            lines += [
                f"smmla {sum_of}, {sum_of}, {by}, {added}",
                f"asr {sum_of}, lr",
                f"ssat {sum_of}, #8, {sum_of}",
                f"strb {sum_of}, [r2], #1",
            ]
    return [*lines, "str r2, [sp, #40]"]
