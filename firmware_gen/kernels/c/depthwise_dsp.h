/* 3x3 DEPTHWISE_CONV_2D for cores with the Armv7E-M DSP instructions. */
#ifndef MG_DEPTHWISE_DSP_H
#define MG_DEPTHWISE_DSP_H

#include "mg_common.h"

MG_INLINE uint32_t mg_pair(int32_t low, int32_t high)
{
    uint32_t word;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(low), "r"(high));
    return word;
}

/* Immediate operands of assembly are constants only where functions are inlined. */
#if defined(__OPTIMIZE__) && !defined(__clang__)
/* (sum * multiplier + offset) >> shift, saturated; shift is at least 32. */
MG_INLINE int32_t mg_saturate(int32_t sum, int32_t multiplier, int64_t offset, int32_t shift)
{
    const int32_t high = (int32_t)(((int64_t)sum * multiplier + offset) >> 32);
    int32_t result;
    if (shift > 32)
        __asm__("ssat %0, #8, %1, asr %2" : "=r"(result) : "r"(high), "I"(shift > 32 ? shift - 32 : 1));
    else
        __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(high));
    return result;
}

/* Three kernel rows on three rows of inputs, words * 4 bytes apart: one output, and two neighbouring ones. */
MG_INLINE int32_t mg_three_rows(const uint32_t *at, const uint32_t *a, const uint32_t *b, int32_t words)
{
    int32_t sum;
    uint32_t p, q;
    __asm__("ldrd %[p], %[q], [%[at]]\n\t"
            "smuad %[sum], %[p], %[a0]\n\t"
            "smlabt %[sum], %[q], %[b0], %[sum]\n\t"
            "ldrd %[p], %[q], [%[at], %[one]]\n\t"
            "smlad %[sum], %[p], %[a1], %[sum]\n\t"
            "smlabt %[sum], %[q], %[b1], %[sum]\n\t"
            "ldrd %[p], %[q], [%[at], %[two]]\n\t"
            "smlad %[sum], %[p], %[a2], %[sum]\n\t"
            "smlabt %[sum], %[q], %[b2], %[sum]"
            : [sum] "=&r"(sum), [p] "=&r"(p), [q] "=&r"(q)
            : [at] "r"(at), [a0] "r"(a[0]), [a1] "r"(a[1]), [a2] "r"(a[2]), [b0] "r"(b[0]), [b1] "r"(b[1]),
              [b2] "r"(b[2]), [one] "I"(words * 4), [two] "I"(words * 8)
            : "memory");
    return sum;
}

MG_INLINE int32_t mg_three_rows_twice(const uint32_t *at, const uint32_t *a, const uint32_t *b, int32_t words,
                                      int32_t *second)
{
    int32_t sum, next;
    uint32_t p, q;
    __asm__("ldrd %[p], %[q], [%[at]]\n\t"
            "smuad %[sum], %[p], %[a0]\n\t"
            "smuad %[next], %[q], %[b0]\n\t"
            "smlabt %[sum], %[q], %[b0], %[sum]\n\t"
            "smlatb %[next], %[p], %[a0], %[next]\n\t"
            "ldrd %[p], %[q], [%[at], %[one]]\n\t"
            "smlad %[sum], %[p], %[a1], %[sum]\n\t"
            "smlad %[next], %[q], %[b1], %[next]\n\t"
            "smlabt %[sum], %[q], %[b1], %[sum]\n\t"
            "smlatb %[next], %[p], %[a1], %[next]\n\t"
            "ldrd %[p], %[q], [%[at], %[two]]\n\t"
            "smlad %[sum], %[p], %[a2], %[sum]\n\t"
            "smlad %[next], %[q], %[b2], %[next]\n\t"
            "smlabt %[sum], %[q], %[b2], %[sum]\n\t"
            "smlatb %[next], %[p], %[a2], %[next]"
            : [sum] "=&r"(sum), [next] "=&r"(next), [p] "=&r"(p), [q] "=&r"(q)
            : [at] "r"(at), [a0] "r"(a[0]), [a1] "r"(a[1]), [a2] "r"(a[2]), [b0] "r"(b[0]), [b1] "r"(b[1]),
              [b2] "r"(b[2]), [one] "I"(words * 4), [two] "I"(words * 8)
            : "memory");
    *second = next;
    return sum;
}
#else
MG_INLINE int32_t mg_saturate(int32_t sum, int32_t multiplier, int64_t offset, int32_t shift)
{
    return mg_clamp((int32_t)(((int64_t)sum * multiplier + offset) >> shift), -128, 127);
}

/* The lower halves' product, and the upper ones'. */
MG_INLINE int32_t mg_low(uint32_t a, uint32_t b) { return (int16_t)a * (int16_t)b; }
MG_INLINE int32_t mg_high(uint32_t a, uint32_t b) { return ((int32_t)a >> 16) * ((int32_t)b >> 16); }

MG_INLINE int32_t mg_three_rows(const uint32_t *at, const uint32_t *a, const uint32_t *b, int32_t words)
{
    int32_t sum = 0;
    for (int32_t k = 0; k < 3; k++, at += words)
        sum += mg_low(at[0], a[k]) + mg_high(at[0], a[k]) + (int16_t)at[1] * ((int32_t)b[k] >> 16);
    return sum;
}

MG_INLINE int32_t mg_three_rows_twice(const uint32_t *at, const uint32_t *a, const uint32_t *b, int32_t words,
                                      int32_t *second)
{
    int32_t next = 0;
    for (int32_t k = 0; k < 3; k++) {
        const uint32_t *const row = at + k * words;
        next += ((int32_t)row[0] >> 16) * (int16_t)a[k] + mg_low(row[1], b[k]) + mg_high(row[1], b[k]);
    }
    *second = next;
    return mg_three_rows(at, a, b, words);
}
#endif

MG_INLINE void mg_widen_plane(const mg_window s, const int8_t *from, uint32_t *plane, int32_t height, int32_t words)
{
    const int32_t rows = mg_min(s.in_h, height - s.pad_h), columns = mg_min(s.in_w, 2 * words - s.pad_w);
    mg_half *to = (mg_half *)plane + s.pad_h * 2 * words + s.pad_w;
    for (int32_t y = 0; y < rows; y++, to += 2 * words, from += (s.in_w - columns) * s.in_c)
#pragma GCC unroll 8
        for (int32_t x = 0; x < columns; x++, from += s.in_c)
            to[x] = *from;
}

MG_INLINE void mg_depthwise_dsp(const mg_window s, const int8_t *in, int8_t *out, const mg_affine *scales,
                                uint32_t *plane, int32_t height, int32_t words, int32_t shift, int32_t low,
                                int32_t high)
{
    const int8_t *w = (const int8_t *)(scales + s.out_c);
    const int32_t clamps = low > -128 || high < 127;
    for (int32_t i = 0; i < height * words; i++)
        plane[i] = (uint32_t)(uint16_t)s.padding * 0x10001u;
    for (int32_t c = 0; c < s.out_c; c++, scales++, w += 9) {
        mg_widen_plane(s, in + c, plane, height, words);
        const uint32_t a[3] = {mg_pair(w[0], w[1]), mg_pair(w[3], w[4]), mg_pair(w[6], w[7])};
        const uint32_t b[3] = {mg_pair(w[1], w[2]), mg_pair(w[4], w[5]), mg_pair(w[7], w[8])};
        const int32_t multiplier = scales->multiplier;
        const int64_t offset = (int64_t)(((uint64_t)(uint32_t)scales->offset_high << 32) | scales->offset_low);
        int8_t *result = out + c;
        const uint32_t *row = plane;
        for (int32_t y = 0; y < s.out_h; y++, row += s.stride_h * words) {
            const uint32_t *at = row;
            int32_t left = s.out_w;
            if (s.stride_w == 1) {
#pragma GCC unroll 3
                for (; left >= 2; left -= 2, at++) {
                    int32_t second;
                    int32_t first = mg_three_rows_twice(at, a, b, words, &second);
                    first = mg_saturate(first, multiplier, offset, shift);
                    second = mg_saturate(second, multiplier, offset, shift);
                    result[0] = clamps ? mg_clamp(first, low, high) : (int8_t)first;
                    result[s.out_c] = clamps ? mg_clamp(second, low, high) : (int8_t)second;
                    result += 2 * s.out_c;
                }
            }
            for (; left > 0; left--, at++, result += s.out_c) {
                const int32_t sum = mg_saturate(mg_three_rows(at, a, b, words), multiplier, offset, shift);
                *result = clamps ? mg_clamp(sum, low, high) : (int8_t)sum;
            }
        }
    }
}

#endif
