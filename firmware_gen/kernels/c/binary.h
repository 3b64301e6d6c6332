/* Binary operators: a word holds 32 channels, the first in the lowest bit, and a bit is 1 where a value is below zero.
   Bits beyond the last channel are 0. */
#ifndef MG_BINARY_H
#define MG_BINARY_H

#include "mg_common.h"
#include "mg_real.h"

typedef float __attribute__((may_alias)) mg_float;

MG_KERNEL void mg_pack_int8(const int8_t *in, int8_t *out, int32_t rows, int32_t channels, int32_t zero_point)
{
    mg_word *to = (mg_word *)(void *)out;
    for (; rows > 0; rows--)
        for (int32_t first = 0; first < channels; first += 32) {
            const int32_t n = mg_min(channels - first, 32);
            uint32_t word = 0;
            for (int32_t i = 0; i < n; i++)
                word |= (uint32_t)(*in++ < zero_point) << i;
            *to++ = word;
        }
}

MG_KERNEL void mg_pack_float(const int8_t *in, int8_t *out, int32_t rows, int32_t channels)
{
    const mg_float *from = (const mg_float *)(const void *)in;
    mg_word *to = (mg_word *)(void *)out;
    for (; rows > 0; rows--)
        for (int32_t first = 0; first < channels; first += 32) {
            const int32_t n = mg_min(channels - first, 32);
            uint32_t word = 0;
            for (int32_t i = 0; i < n; i++)
                word |= (uint32_t)(*from++ < 0.0f) << i;
            *to++ = word;
        }
}

MG_KERNEL void mg_unpack_int8(const int8_t *in, int8_t *out, int32_t rows, int32_t channels, int32_t one,
                              int32_t minus_one)
{
    const mg_word *words = (const mg_word *)(const void *)in;
    for (; rows > 0; rows--, words += (channels + 31) / 32)
        for (int32_t i = 0; i < channels; i++)
            *out++ = (int8_t)(words[i / 32] >> (i % 32) & 1u ? minus_one : one);
}

MG_KERNEL void mg_unpack_float(const int8_t *in, int8_t *out, int32_t rows, int32_t channels)
{
    const mg_word *words = (const mg_word *)(const void *)in;
    mg_float *to = (mg_float *)(void *)out;
    for (; rows > 0; rows--, words += (channels + 31) / 32)
        for (int32_t i = 0; i < channels; i++)
            *to++ = words[i / 32] >> (i % 32) & 1u ? -1.0f : 1.0f;
}

/* The window's depth is in words. */
MG_KERNEL void mg_pool_bits(mg_window s, const int8_t *in, int8_t *out)
{
    const mg_word *const from = (const mg_word *)(const void *)in;
    mg_word *to = (mg_word *)(void *)out;
    for (int32_t y = 0; y < s.out_h; y++)
        for (int32_t x = 0; x < s.out_w; x++, to += s.in_c) {
            const int32_t top = y * s.stride_h - s.pad_h, left = x * s.stride_w - s.pad_w;
            for (int32_t c = 0; c < s.in_c; c++) {
                uint32_t word = 0xffffffffu;
                for (int32_t row = mg_max(top, 0); row < mg_min(top + s.k_h, s.in_h); row++)
                    for (int32_t column = mg_max(left, 0); column < mg_min(left + s.k_w, s.in_w); column++)
                        word &= from[(row * s.in_w + column) * s.in_c + c];
                to[c] = word;
            }
        }
}

/* How many bits of n words differ, all within a register: sums of eight bits each, of at most 31 words at a time. */
MG_INLINE int32_t mg_differences(const mg_word *a, const mg_word *b, int32_t n)
{
    int32_t count = 0;
    while (n > 0) {
        const mg_word *const end = a + mg_min(n, 31);
        uint32_t sums = 0;
        n -= (int32_t)(end - a);
        while (a < end) {
            uint32_t x = *a++ ^ *b++;
            x -= x >> 1 & 0x55555555u;
            x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
            sums += (x + (x >> 4)) & 0x0f0f0f0fu;
        }
        sums = (sums & 0x00ff00ffu) + (sums >> 8 & 0x00ff00ffu);
        count += (int32_t)((sums & 0xffffu) + (sums >> 16));
    }
    return count;
}

typedef struct {
    int32_t outputs, groups;
    int32_t words, depth; /* words and channels of one group */
    int32_t pads_one;
    int32_t kind; /* of the output: 0 words, 1 int8, 2 float32 */
    int32_t least, most;
} mg_bits;

/* One group's words under the window, and of each tap whether it lies outside; returns how many do. */
MG_INLINE int32_t mg_column_bits(const mg_window *s, const mg_word *in, int32_t words, int32_t top, int32_t left,
                                 mg_word *column, int8_t *outside)
{
    int32_t count = 0;
    for (int32_t ky = 0; ky < s->k_h; ky++)
        for (int32_t kx = 0; kx < s->k_w; kx++, column += words, outside++) {
            const int32_t row = top + ky * s->dilation_h, at = left + kx * s->dilation_w;
            *outside = row < 0 || row >= s->in_h || at < 0 || at >= s->in_w;
            count += *outside;
            for (int32_t c = 0; c < words; c++)
                column[c] = *outside ? 0u : in[(row * s->in_w + at) * s->in_c + c];
        }
    return count;
}

/* Twice the differences of one output; a tap outside counts half of its channels, unless it is 1. */
MG_INLINE int32_t mg_twice(const mg_bits *by, const mg_word *column, const mg_word *filter, int32_t taps,
                           const int8_t *outside, int32_t count)
{
    static const mg_word zero[1] = {0};
    int32_t differences = mg_differences(column, filter, taps * by->words);
    if (count == 0 || by->pads_one)
        return 2 * differences;
    for (int32_t k = 0; k < taps; k++)
        for (int32_t c = 0; outside[k] && c < by->words; c++)
            differences -= mg_differences(zero, filter + k * by->words + c, 1);
    return 2 * differences + count * by->depth;
}

MG_INLINE int8_t mg_rounded(float real)
{
    if (real >= 127.0f || real <= -128.0f)
        return real > 0.0f ? 127 : -128;
    const int32_t whole = (int32_t)real;
    const float rest = mg_sub32(real, (float)whole);
    return mg_clamp(whole + (rest >= 0.5f) - (rest <= -0.5f), -128, 127);
}

/* constants: per output what decides about its bit, or its two factors; then the filter. scratch: a column, and a byte
   for each tap. */
MG_INLINE void mg_conv_bits(mg_window s, const int8_t *in, int8_t *out, const void *constants, void *scratch,
                            const mg_bits *by)
{
    const int32_t taps = s.k_h * s.k_w, of_group = by->outputs / by->groups;
    const mg_word *const filters = (const mg_word *)constants + by->outputs * (by->kind ? 2 : 1);
    const int32_t *const thresholds = (const int32_t *)constants;
    const float *const slopes = (const float *)constants, *const levels = slopes + by->outputs;
    mg_word *const column = (mg_word *)scratch;
    int8_t *const outside = (int8_t *)scratch + 4 * taps * by->words;
    mg_word *words = (mg_word *)(void *)out;
    mg_float *reals = (mg_float *)(void *)out;
    for (int32_t y = 0; y < s.out_h; y++)
        for (int32_t x = 0; x < s.out_w; x++) {
            uint32_t word = 0;
            int32_t count = 0;
            for (int32_t o = 0; o < by->outputs; o++) {
                if (o % of_group == 0)
                    count = mg_column_bits(&s, (const mg_word *)(const void *)in + o / of_group * by->words, by->words,
                                           y * s.stride_h - s.pad_h, x * s.stride_w - s.pad_w, column, outside);
                const int32_t twice = mg_twice(by, column, filters + o * taps * by->words, taps, outside, count);
                if (by->kind == 0) {
                    word |= (uint32_t)(twice > thresholds[o]) << (o % 32);
                    if (o % 32 == 31 || o == by->outputs - 1) {
                        *words++ = word;
                        word = 0;
                    }
                    continue;
                }
                const float kept = (float)mg_max(mg_min(twice, by->most), by->least);
                const float real = mg_add32(mg_mul32(kept, slopes[o]), levels[o]);
                if (by->kind == 1)
                    *out++ = mg_rounded(real);
                else
                    *reals++ = real;
            }
        }
}

#endif
