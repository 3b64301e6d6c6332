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

/* As mg_widen_rows, to the upper bytes of the plane's halves; words lie 32 bytes apart. Registers: r3 to r5, r8 and r11
   leads, pixel, three pixels, line and pixels, r6 and r7 places in both, r9 eight less than the pixels left, of which the
   three lower bits are the same, r12 rows left. Low registers are what is used most, as their instructions are short. */
static __attribute__((naked, noinline, unused)) void mg_widen_high(const int8_t *from __attribute__((unused)),
                                                                   uint32_t *to __attribute__((unused)),
                                                                   const mg_widening *by __attribute__((unused)),
                                                                   int32_t count __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r11, lr}\n\t"
                     "mov r12, r3\n\t"
                     "ldm.w r2, {r4, r5, r8, r9, r11}\n\t"
                     "mov r3, r9\n\t"
                     "add r5, r4, r4, lsl #1\n\t"
                     "1: mov r6, r0\n\t"
                     "mov r7, r1\n\t"
                     "cbz r3, 2f\n\t"
                     "ldrb r2, [r6]\n\t"
                     "strb r2, [r7, #3]\n\t"
                     "add r6, r4\n\t"
                     "adds r7, #32\n\t"
                     "2: subs.w r9, r11, #8\n\t"
                     "blt 7f\n\t"
                     "3: ldrb r2, [r6]\n\t"
                     "ldrb.w r10, [r6, r4]\n\t"
                     "ldrb.w lr, [r6, r4, lsl #1]\n\t"
                     "strb r2, [r7, #1]\n\t"
                     "ldrb r2, [r6, r5]\n\t"
                     "strb.w r10, [r7, #3]\n\t"
                     "strb.w lr, [r7, #33]\n\t"
                     "strb.w r2, [r7, #35]\n\t"
                     "ldrb.w r2, [r6, r4, lsl #2]\n\t"
                     "ldrb.w r10, [r6, r5, lsl #1]\n\t"
                     "add.w lr, r6, r4\n\t"
                     "strb.w r2, [r7, #65]\n\t"
                     "strb.w r10, [r7, #97]\n\t"
                     "ldrb.w r2, [lr, r4, lsl #2]\n\t"
                     "ldrb.w r10, [lr, r5, lsl #1]\n\t"
                     "strb.w r2, [r7, #67]\n\t"
                     "strb.w r10, [r7, #99]\n\t"
                     "add.w r6, r6, r4, lsl #3\n\t"
                     "adds r7, #128\n\t"
                     "subs.w r9, r9, #8\n\t"
                     "bge 3b\n\t"
                     "7: tst r9, #4\n\t"
                     "beq 4f\n\t"
                     "ldrb r2, [r6]\n\t"
                     "ldrb.w r10, [r6, r4]\n\t"
                     "ldrb.w lr, [r6, r4, lsl #1]\n\t"
                     "strb r2, [r7, #1]\n\t"
                     "ldrb r2, [r6, r5]\n\t"
                     "strb.w r10, [r7, #3]\n\t"
                     "strb.w lr, [r7, #33]\n\t"
                     "strb.w r2, [r7, #35]\n\t"
                     "add.w r6, r6, r4, lsl #2\n\t"
                     "adds r7, #64\n\t"
                     "4: tst r9, #2\n\t"
                     "beq 5f\n\t"
                     "ldrb r2, [r6]\n\t"
                     "ldrb.w r10, [r6, r4]\n\t"
                     "strb r2, [r7, #1]\n\t"
                     "strb.w r10, [r7, #3]\n\t"
                     "add.w r6, r6, r4, lsl #1\n\t"
                     "adds r7, #32\n\t"
                     "5: tst r9, #1\n\t"
                     "beq 6f\n\t"
                     "ldrb r2, [r6]\n\t"
                     "strb r2, [r7, #1]\n\t"
                     "6: add r0, r8\n\t"
                     "adds r1, #4\n\t"
                     "subs.w r12, r12, #1\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r11, pc}");
}

#endif
