/* Convolutions for cores with the Armv7E-M DSP instructions: gathering two pixels' inputs as 16-bit pairs, or one's. */
#ifndef MG_CONV_DSP_H
#define MG_CONV_DSP_H

#include "mg_common.h"

typedef void mg_block(const uint32_t *column, const void *stream, int32_t pairs, int8_t *out0, int8_t *out1,
                      int32_t blocks);

/* The arguments of a naked function are never named in C. */
#define MG_BLOCK_ARGUMENTS                                                                                    \
    const uint32_t *column __attribute__((unused)), const void *stream __attribute__((unused)),              \
        int32_t pairs __attribute__((unused)), int8_t *out0 __attribute__((unused)),                         \
        int8_t *out1 __attribute__((unused)), int32_t blocks __attribute__((unused))

MG_INLINE uint32_t mg_widen_even(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

MG_INLINE uint32_t mg_widen_odd(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* Widens n bytes (a multiple of 4) of one pixel; the two pixels' words alternate in the column. */
MG_INLINE uint32_t *mg_widen(uint32_t *column, const int8_t *from, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4, column += 4) {
        const uint32_t word = mg_load(from + i);
        column[0] = mg_widen_even(word);
        column[2] = mg_widen_odd(word);
    }
    return column;
}

/* Widens n bytes (a multiple of 4, not 0) of two pixels, the second so many bytes behind the first. */
static __attribute__((naked, noinline, unused)) uint32_t *mg_widen_two(uint32_t *column __attribute__((unused)),
                                                                       const int8_t *from __attribute__((unused)),
                                                                       int32_t behind __attribute__((unused)),
                                                                       int32_t n __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r9}\n\t"
                     "1: ldr.w r5, [r1, r2]\n\t"
                     "ldr.w r4, [r1], #4\n\t"
                     "sxtb16 r6, r4\n\t"
                     "sxtb16 r7, r5\n\t"
                     "sxtb16 r8, r4, ror #8\n\t"
                     "sxtb16 r9, r5, ror #8\n\t"
                     "stm.w r0!, {r6-r9}\n\t"
                     "subs r3, #4\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r9}\n\t"
                     "bx lr");
}

MG_INLINE uint32_t *mg_fill_dsp(uint32_t *column, uint32_t value, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4, column += 4)
        column[0] = column[2] = value;
    return column;
}

/* One place of a column whose rest is not a multiple of four. */
MG_INLINE void mg_single(uint32_t *tail, int32_t place, int32_t value)
{
    ((mg_half *)tail)[(place >> 1) * 4 + (place & 1)] = (int16_t)value;
}

/* Inputs of output pixel (y, x) in the order of tap_order(); column points to the pixel's first word. */
MG_INLINE void mg_gather_dsp(const mg_window s, const int8_t *in, int32_t y, int32_t x, uint32_t *column)
{
    const int32_t left = x * s.stride_w - s.pad_w;
    const int32_t run = s.dilation_w > 1 ? s.in_c : s.k_w * s.in_c;
    const int32_t whole = run / 4 * 4, rest = run - whole;
    const uint32_t padding = (uint32_t)(uint16_t)s.padding * 0x10001u;
    uint32_t *const tail = column + s.k_h * (s.dilation_w > 1 ? s.k_w : 1) * whole;
    int32_t place = 0;
    for (int32_t ky = 0; ky < s.k_h; ky++) {
        const int32_t row = y * s.stride_h - s.pad_h + ky * s.dilation_h;
        const int8_t *const from = mg_input_row(s, in, row);
        const int32_t inside = row >= 0 && row < s.in_h;
        if (s.dilation_w == 1 && inside && left >= 0 && left + s.k_w <= s.in_w) {
            column = mg_widen(column, from + left * s.in_c, whole);
            for (int32_t i = 0; i < rest; i++)
                mg_single(tail, place++, from[left * s.in_c + whole + i]);
        } else if (s.dilation_w == 1 && !inside) {
            column = mg_fill_dsp(column, padding, whole);
            for (int32_t i = 0; i < rest; i++)
                mg_single(tail, place++, s.padding);
        } else if (s.in_c % 4 == 0) {
            /* Unsigned, as in mg_gather. */
            uint32_t at = (uint32_t)left;
            for (int32_t kx = 0; kx < s.k_w; kx++, at += (uint32_t)s.dilation_w) {
                if (inside && at < (uint32_t)s.in_w)
                    column = mg_widen(column, from + at * (uint32_t)s.in_c, s.in_c);
                else
                    column = mg_fill_dsp(column, padding, s.in_c);
            }
        } else if (s.dilation_w == 1) {
            /* Padding, and over it the part of the run that is inside. */
            const int32_t begin = mg_max(-left, 0) * s.in_c, end = mg_min(s.k_w, s.in_w - left) * s.in_c;
            mg_fill_dsp(column, padding, whole);
            for (int32_t i = whole; i < run; i++)
                mg_single(tail, place + i - whole, s.padding);
            for (int32_t i = begin; i < end; i++) {
                const int32_t value = from[left * s.in_c + i];
                if (i < whole)
                    ((mg_half *)column)[(i >> 2) * 8 + (i & 1) * 4 + ((i >> 1) & 1)] = (int16_t)value;
                else
                    mg_single(tail, place + i - whole, value);
            }
            column += whole;
            place += rest;
        } else {
            for (int32_t i = 0; i < s.k_w * s.in_c; i++) {
                const uint32_t at = (uint32_t)left + (uint32_t)(i / s.in_c * s.dilation_w);
                const int32_t valid = inside && at < (uint32_t)s.in_w;
                const int32_t value = valid ? from[at * (uint32_t)s.in_c + (uint32_t)(i % s.in_c)] : s.padding;
                const int32_t j = i % run;
                if (j < whole)
                    ((mg_half *)column)[(j & 1) * 4 + ((j >> 1) & 1)] = (int16_t)value;
                else
                    mg_single(tail, place++, value);
                if (j < whole && (j & 3) == 3)
                    column += 4;
            }
        }
    }
}

/* Whether pixels x and x + 1 of a row read nothing to the left or to the right of the image. */
MG_INLINE int32_t mg_both_inside(const mg_window s, int32_t x)
{
    const int32_t left = x * s.stride_w - s.pad_w;
    return s.dilation_w == 1 && left >= 0 && x + 1 < s.out_w && left + s.stride_w + s.k_w <= s.in_w;
}

/* Inputs of both, row by row of the kernel. */
MG_INLINE void mg_gather_two_dsp(const mg_window s, const int8_t *in, int32_t y, int32_t x, uint32_t *column)
{
    const int32_t left = (x * s.stride_w - s.pad_w) * s.in_c, behind = s.stride_w * s.in_c, run = s.k_w * s.in_c;
    const int32_t whole = run / 4 * 4;
    const uint32_t padding = (uint32_t)(uint16_t)s.padding * 0x10001u;
    uint32_t *const tail = column + s.k_h * whole;
    int32_t place = 0;
    for (int32_t ky = 0; ky < s.k_h; ky++) {
        const int32_t row = y * s.stride_h - s.pad_h + ky * s.dilation_h, inside = row >= 0 && row < s.in_h;
        const int8_t *const from = mg_input_row(s, in, row) + left;
        if (!inside) {
            mg_fill_dsp(column, padding, whole);
            column = mg_fill_dsp(column + 1, padding, whole) - 1;
        } else if (whole > 8) {
            column = mg_widen_two(column, from, behind, whole);
        } else {
            mg_widen(column, from, whole);
            column = mg_widen(column + 1, from + behind, whole) - 1;
        }
        for (int32_t i = whole; i < run; i++, place++) {
            mg_single(tail, place, inside ? from[i] : s.padding);
            mg_single(tail + 1, place, inside ? from[behind + i] : s.padding);
        }
    }
}

/* Output pixels first to last - 1, two at a time; an odd last one is computed twice, the first copy overwritten. With
   channels that are no multiple of four, whole blocks go through the scratch behind the column. */
MG_INLINE void mg_conv_dsp(const mg_window s, const int8_t *in, int8_t *out, const void *stream, uint32_t *column,
                           int32_t first, int32_t last, int32_t pairs, int32_t low, int32_t high, mg_block *block)
{
    const int32_t padded = (s.out_c + 3) / 4 * 4;
    int8_t *const spare = (int8_t *)(column + 2 * pairs);
    int32_t y = first / s.out_w, x = first % s.out_w;
    if ((s.k_h * s.k_w * s.in_c) & 1)
        column[2 * pairs - 2] = column[2 * pairs - 1] = 0;
    for (int32_t pixel = first; pixel < last; pixel += 2) {
        const int32_t count = pixel + 1 < last ? 2 : 1;
        if (count == 2 && mg_both_inside(s, x)) {
            mg_gather_two_dsp(s, in, y, x, column);
            x += 2;
        } else {
            for (int32_t i = 0; i < count; i++) {
                mg_gather_dsp(s, in, y, x, column + i);
                if (++x == s.out_w && i + 1 < count) {
                    x = 0;
                    y++;
                }
            }
        }
        if (x == s.out_w) {
            x = 0;
            y++;
        }
        if (padded == s.out_c) {
            block(column, stream, pairs, out, count == 2 ? out + s.out_c : out, padded / 4);
        } else {
            block(column, stream, pairs, spare, spare + padded, padded / 4);
            memcpy(out, spare, (size_t)s.out_c);
            if (count == 2)
                memcpy(out + s.out_c, spare + padded, (size_t)s.out_c);
        }
        if (low > -128 || high < 127)
            for (int32_t i = 0; i < count * s.out_c; i++)
                out[i] = mg_clamp(out[i], low, high);
        out += 2 * s.out_c;
    }
}

/* A pointwise layer whose channels, in and out, are multiples of four: so many pixels. An odd last one is both pixels of
   its turn. */
MG_KERNEL void mg_pointwise_dsp(const int8_t *in, int8_t *out, const void *stream, uint32_t *column, int32_t count,
                                int32_t inputs, int32_t outputs, mg_block *block)
{
    for (; count > 0; count -= 2, in += 2 * inputs, out += 2 * outputs) {
        mg_widen_two(column, in, count > 1 ? inputs : 0, inputs);
        block(column, stream, inputs / 2, out, count > 1 ? out + outputs : out, outputs / 4);
    }
}

/* A dense layer of one row. All inputs are read before the first output is written. */
MG_INLINE void mg_dense_dsp(int32_t taps, int32_t channels, const int8_t *in, int8_t *out, const void *stream,
                            uint32_t *column, int32_t pairs, int32_t low, int32_t high, mg_block *block)
{
    const int32_t whole = taps / 4 * 4, padded = (channels + 3) / 4 * 4;
    mg_half *const tail = (mg_half *)column + whole;
    int8_t *const to = padded == channels ? out : (int8_t *)(column + pairs);
    for (int32_t i = 0; i < whole; i += 4) {
        const uint32_t word = mg_load(in + i);
        column[i / 2] = mg_widen_even(word);
        column[i / 2 + 1] = mg_widen_odd(word);
    }
    for (int32_t i = whole; i < 2 * pairs; i++)
        tail[i - whole] = i < taps ? in[i] : 0;
    block(column, stream, pairs, to, NULL, padded / 4);
    if (to != out)
        memcpy(out, to, (size_t)channels);
    if (low > -128 || high < 127)
        for (int32_t i = 0; i < channels; i++)
            out[i] = mg_clamp(out[i], low, high);
}

#endif
