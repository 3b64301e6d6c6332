/* Rows of one channel widened to 16 bits, two neighbours a word, for depthwise layers on cores with the Armv7E-M DSP
   instructions. */
#ifndef MG_WIDEN_DSP_H
#define MG_WIDEN_DSP_H

#include "mg_common.h"

/* What a row of inputs is, in bytes: from pixel to pixel, from word to word of the plane, from row to row; and how many
   pixels there are, without a first one that goes to the upper half of a word if it leads. */
typedef struct {
    int32_t pixel, word, line, leads, pixels;
} mg_widening;

typedef void mg_widen_plane(const int8_t *from, uint32_t *to, const mg_widening *by, int32_t count);

/* So many rows of inputs become rows of the plane. Registers: r4 to r8 the fields of by, r9 and r10 places in both, r11
   four less than the pixels left, of which the two lower bits are the same. */
static __attribute__((naked, noinline, unused)) void mg_widen_rows(const int8_t *from __attribute__((unused)),
                                                                   uint32_t *to __attribute__((unused)),
                                                                   const mg_widening *by __attribute__((unused)),
                                                                   int32_t count __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r11, lr}\n\t"
                     "ldm r2, {r4-r8}\n\t"
                     "1: mov r9, r0\n\t"
                     "mov r10, r1\n\t"
                     "cbz r7, 2f\n\t"
                     "ldrsb.w r2, [r9]\n\t"
                     "strh.w r2, [r10, #2]\n\t"
                     "add r9, r4\n\t"
                     "add r10, r5\n\t"
                     "2: subs.w r11, r8, #4\n\t"
                     "blt 4f\n\t"
                     "3: ldrsb.w r2, [r9]\n\t"
                     "ldrsb.w r12, [r9, r4]\n\t"
                     "pkhbt r2, r2, r12, lsl #16\n\t"
                     "str.w r2, [r10]\n\t"
                     "add.w r9, r9, r4, lsl #1\n\t"
                     "ldrsb.w r2, [r9]\n\t"
                     "ldrsb.w r12, [r9, r4]\n\t"
                     "pkhbt r2, r2, r12, lsl #16\n\t"
                     "str.w r2, [r10, r5]\n\t"
                     "add.w r9, r9, r4, lsl #1\n\t"
                     "add.w r10, r10, r5, lsl #1\n\t"
                     "subs.w r11, r11, #4\n\t"
                     "bge 3b\n\t"
                     "4: tst r11, #2\n\t"
                     "beq 5f\n\t"
                     "ldrsb.w r2, [r9]\n\t"
                     "ldrsb.w r12, [r9, r4]\n\t"
                     "pkhbt r2, r2, r12, lsl #16\n\t"
                     "str.w r2, [r10]\n\t"
                     "add.w r9, r9, r4, lsl #1\n\t"
                     "add r10, r5\n\t"
                     "5: tst r11, #1\n\t"
                     "beq 6f\n\t"
                     "ldrsb.w r2, [r9]\n\t"
                     "strh.w r2, [r10]\n\t"
                     "6: add r0, r6\n\t"
                     "adds r1, #4\n\t"
                     "subs r3, #1\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r11, pc}");
}

/* As mg_widen_rows, to the upper bytes of the plane's halves; words lie 32 bytes apart. Registers: r4, r6 to r8 fields of
   by, r5 three pixels, r9 and r10 places in both, r11 eight less than the pixels left, of which the three lower bits are
   the same. */
static __attribute__((naked, noinline, unused)) void mg_widen_high(const int8_t *from __attribute__((unused)),
                                                                   uint32_t *to __attribute__((unused)),
                                                                   const mg_widening *by __attribute__((unused)),
                                                                   int32_t count __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r11, lr}\n\t"
                     "ldm r2, {r4-r8}\n\t"
                     "add r5, r4, r4, lsl #1\n\t"
                     "1: mov r9, r0\n\t"
                     "mov r10, r1\n\t"
                     "cbz r7, 2f\n\t"
                     "ldrb.w r2, [r9]\n\t"
                     "strb.w r2, [r10, #3]\n\t"
                     "add r9, r4\n\t"
                     "add r10, #32\n\t"
                     "2: subs.w r11, r8, #8\n\t"
                     "blt 7f\n\t"
                     "3: ldrb.w r2, [r9]\n\t"
                     "ldrb.w r12, [r9, r4]\n\t"
                     "ldrb.w lr, [r9, r4, lsl #1]\n\t"
                     "strb.w r2, [r10, #1]\n\t"
                     "ldrb.w r2, [r9, r5]\n\t"
                     "strb.w r12, [r10, #3]\n\t"
                     "strb.w lr, [r10, #33]\n\t"
                     "strb.w r2, [r10, #35]\n\t"
                     "ldrb.w r2, [r9, r4, lsl #2]\n\t"
                     "ldrb.w r12, [r9, r5, lsl #1]\n\t"
                     "add.w r9, r9, r4\n\t"
                     "strb.w r2, [r10, #65]\n\t"
                     "strb.w r12, [r10, #97]\n\t"
                     "ldrb.w r2, [r9, r4, lsl #2]\n\t"
                     "ldrb.w r12, [r9, r5, lsl #1]\n\t"
                     "strb.w r2, [r10, #67]\n\t"
                     "strb.w r12, [r10, #99]\n\t"
                     "sub.w r9, r9, r4\n\t"
                     "add.w r9, r9, r4, lsl #3\n\t"
                     "add.w r10, r10, #128\n\t"
                     "subs.w r11, r11, #8\n\t"
                     "bge 3b\n\t"
                     "7: tst r11, #4\n\t"
                     "beq 4f\n\t"
                     "ldrb.w r2, [r9]\n\t"
                     "ldrb.w r12, [r9, r4]\n\t"
                     "ldrb.w lr, [r9, r4, lsl #1]\n\t"
                     "strb.w r2, [r10, #1]\n\t"
                     "ldrb.w r2, [r9, r5]\n\t"
                     "strb.w r12, [r10, #3]\n\t"
                     "strb.w lr, [r10, #33]\n\t"
                     "strb.w r2, [r10, #35]\n\t"
                     "add.w r9, r9, r4, lsl #2\n\t"
                     "add.w r10, r10, #64\n\t"
                     "4: tst r11, #2\n\t"
                     "beq 5f\n\t"
                     "ldrb.w r2, [r9]\n\t"
                     "ldrb.w r12, [r9, r4]\n\t"
                     "strb.w r2, [r10, #1]\n\t"
                     "strb.w r12, [r10, #3]\n\t"
                     "add.w r9, r9, r4, lsl #1\n\t"
                     "add r10, #32\n\t"
                     "5: tst r11, #1\n\t"
                     "beq 6f\n\t"
                     "ldrb.w r2, [r9]\n\t"
                     "strb.w r2, [r10, #1]\n\t"
                     "6: add r0, r6\n\t"
                     "adds r1, #4\n\t"
                     "subs r3, #1\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r11, pc}");
}

#endif
