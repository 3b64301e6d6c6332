/* Convolutions for cores with the Armv7E-M DSP instructions: gathering three pixels' inputs as 16-bit pairs, or one's. */
#ifndef MG_CONV_DSP_H
#define MG_CONV_DSP_H

#include "mg_common.h"

/* How the assembly goes through a column: where a turn of two channels enters its code, where it enters the unrolled loop
   and where that goes on, then the column's pairs of inputs and the bytes of the stream. */
typedef struct {
    int16_t entry, loop, after;
    uint16_t pairs;
    uint32_t stream_bytes;
} mg_turns;

/* The second and the third pixel's outputs lie so many bytes behind the first's. */
typedef void mg_block(const uint32_t *column, const void *stream, int8_t *out, const mg_turns *by, int32_t second,
                      int32_t third);
typedef void mg_one(const uint32_t *column, const void *stream, int32_t pairs, int8_t *out, int32_t blocks);

/* The arguments of a naked function are never named in C. */
#define MG_BLOCK_ARGUMENTS                                                                                    \
    const uint32_t *column __attribute__((unused)), const void *stream __attribute__((unused)),              \
        int8_t *out __attribute__((unused)), const mg_turns *by __attribute__((unused)),                     \
        int32_t second __attribute__((unused)), int32_t third __attribute__((unused))
#define MG_ONE_ARGUMENTS                                                                                      \
    const uint32_t *column __attribute__((unused)), const void *stream __attribute__((unused)),              \
        int32_t pairs __attribute__((unused)), int8_t *out __attribute__((unused)),                          \
        int32_t blocks __attribute__((unused))

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

/* Widens n bytes (a multiple of 4) of one pixel; the three pixels' words alternate in the column. */
MG_INLINE uint32_t *mg_widen(uint32_t *column, const int8_t *from, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4, column += 6) {
        const uint32_t word = mg_load(from + i);
        column[0] = mg_widen_even(word);
        column[3] = mg_widen_odd(word);
    }
    return column;
}

/* Widens n bytes (a multiple of 4, not 0) of three pixels, the second and the third so many bytes behind the first. */
static __attribute__((naked, noinline, unused)) uint32_t *mg_widen_three(uint32_t *column __attribute__((unused)),
                                                                         const int8_t *from __attribute__((unused)),
                                                                         int32_t n __attribute__((unused)),
                                                                         int32_t second __attribute__((unused)),
                                                                         int32_t third __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r4-r11, lr}\n\t"
                     "ldr.w lr, [sp, #36]\n\t"
                     "1: ldr.w r12, [r1, lr]\n\t"
                     "ldr.w r11, [r1, r3]\n\t"
                     "ldr.w r10, [r1], #4\n\t"
                     "sxtb16 r4, r10\n\t"
                     "sxtb16 r5, r11\n\t"
                     "sxtb16 r6, r12\n\t"
                     "sxtb16 r7, r10, ror #8\n\t"
                     "sxtb16 r8, r11, ror #8\n\t"
                     "sxtb16 r9, r12, ror #8\n\t"
                     "stm.w r0!, {r4-r9}\n\t"
                     "subs r2, #4\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r11, pc}");
}

MG_INLINE uint32_t *mg_fill_dsp(uint32_t *column, uint32_t value, int32_t n)
{
    for (int32_t i = 0; i < n; i += 4, column += 6)
        column[0] = column[3] = value;
    return column;
}

/* One place of a column whose rest is not a multiple of four. */
MG_INLINE void mg_single(uint32_t *tail, int32_t place, int32_t value)
{
    ((mg_half *)tail)[3 * place - 2 * (place & 1)] = (int16_t)value;
}

/* Inputs of a pixel whose kernel reaches over the image's left or right side, at so many bytes of a row: word by word of a
   kernel row, as what of a word is padding is the same in all rows. */
MG_INLINE void mg_gather_side(const mg_window s, const int8_t *in, int32_t y, int32_t at, uint32_t *column)
{
    const int32_t run = s.k_w * s.in_c, whole = run / 4 * 4, bytes = s.in_w * s.in_c, top = y * s.stride_h - s.pad_h;
    const uint32_t beyond = (uint8_t)s.padding * 0x01010101u;
    uint32_t *const tail = column + s.k_h * whole / 2 * 3;
    for (int32_t i = 0; i < whole; i += 4) {
        const int32_t from = mg_max(mg_min(at + i, bytes - 4), 0), bits = 8 * (from - at - i);
        const int32_t left = mg_max(bits, 0), right = mg_max(-bits, 0), some = mg_max(left, right) < 32 && bytes >= 4;
        const uint32_t fill = !some || bits == 0 ? 0 : bits > 0 ? beyond >> (32 - bits) : beyond << (32 + bits);
        uint32_t *to = column + i / 2 * 3;
        for (int32_t ky = 0, row = top; ky < s.k_h; ky++, row += s.dilation_h, to += whole / 2 * 3) {
            uint32_t word = beyond;
            if (row >= 0 && row < s.in_h) {
                const int8_t *const line = mg_input_row(s, in, row);
                if (some)
                    word = mg_load(line + from) >> right << left | fill;
                else if (bytes < 4)
                    for (int32_t k = 0; k < 4; k++)
                        if (at + i + k >= 0 && at + i + k < bytes)
                            word = (word & ~(0xffu << 8 * k)) | (uint32_t)(uint8_t)line[at + i + k] << 8 * k;
            }
            to[0] = mg_widen_even(word);
            to[3] = mg_widen_odd(word);
        }
    }
    for (int32_t ky = 0, row = top, place = 0; ky < s.k_h; ky++, row += s.dilation_h)
        for (int32_t i = at + whole; i < at + run; i++) {
            const int32_t inside = row >= 0 && row < s.in_h && i >= 0 && i < bytes;
            mg_single(tail, place++, inside ? mg_input_row(s, in, row)[i] : s.padding);
        }
}

/* Inputs of output pixel (y, x) in the order of tap_order(); column points to the pixel's first word. */
MG_INLINE void mg_gather_dsp(const mg_window s, const int8_t *in, int32_t y, int32_t x, uint32_t *column)
{
    const int32_t left = x * s.stride_w - s.pad_w;
    if (s.dilation_w == 1 && s.in_c % 4 && (left < 0 || left + s.k_w > s.in_w)) {
        mg_gather_side(s, in, y, left * s.in_c, column);
        return;
    }
    const int32_t run = s.dilation_w > 1 ? s.in_c : s.k_w * s.in_c;
    const int32_t whole = run / 4 * 4, rest = run - whole;
    const uint32_t padding = (uint32_t)(uint16_t)s.padding * 0x10001u;
    uint32_t *const tail = column + s.k_h * (s.dilation_w > 1 ? s.k_w : 1) * whole / 2 * 3;
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
        } else {
            for (int32_t i = 0; i < s.k_w * s.in_c; i++) {
                const uint32_t at = (uint32_t)left + (uint32_t)(i / s.in_c * s.dilation_w);
                const int32_t valid = inside && at < (uint32_t)s.in_w;
                const int32_t value = valid ? from[at * (uint32_t)s.in_c + (uint32_t)(i % s.in_c)] : s.padding;
                const int32_t j = i % run;
                if (j < whole)
                    ((mg_half *)column)[(j & 1) * 6 + ((j >> 1) & 1)] = (int16_t)value;
                else
                    mg_single(tail, place++, value);
                if (j < whole && (j & 3) == 3)
                    column += 6;
            }
        }
    }
}

/* Whether pixels x to x + 2 of a row read nothing to the left or to the right of the image. */
MG_INLINE int32_t mg_all_inside(const mg_window s, int32_t x)
{
    const int32_t left = x * s.stride_w - s.pad_w;
    return s.dilation_w == 1 && left >= 0 && x + 2 < s.out_w && left + 2 * s.stride_w + s.k_w <= s.in_w;
}

/* Inputs of the three, row by row of the kernel. */
MG_INLINE void mg_gather_three_dsp(const mg_window s, const int8_t *in, int32_t y, int32_t x, uint32_t *column)
{
    const int32_t left = (x * s.stride_w - s.pad_w) * s.in_c, behind = s.stride_w * s.in_c, run = s.k_w * s.in_c;
    const int32_t whole = run / 4 * 4;
    const uint32_t padding = (uint32_t)(uint16_t)s.padding * 0x10001u;
    uint32_t *const tail = column + s.k_h * whole / 2 * 3;
    int32_t place = 0;
    for (int32_t ky = 0; ky < s.k_h; ky++) {
        const int32_t row = y * s.stride_h - s.pad_h + ky * s.dilation_h, inside = row >= 0 && row < s.in_h;
        const int8_t *const from = mg_input_row(s, in, row) + left;
        if (!inside) {
            for (int32_t i = 0; i < whole / 2 * 3; i++)
                *column++ = padding;
        } else if (whole > 0) {
            column = mg_widen_three(column, from, whole, behind, 2 * behind);
        }
        for (int32_t i = whole; i < run; i++, place++)
            for (int32_t p = 0; p < 3; p++)
                mg_single(tail + p, place, inside ? from[p * behind + i] : s.padding);
    }
}

/* Output pixels first to last - 1, three at a time; what a last turn lacks is computed from what lies there, and written
   before what is there. Where channels are odd, all go through the scratch behind the column. */
MG_INLINE void mg_conv_dsp(const mg_window s, const int8_t *in, int8_t *out, const void *stream, uint32_t *column,
                           int32_t first, int32_t last, const mg_turns *by, int32_t low, int32_t high, mg_block *block)
{
    const int32_t padded = s.out_c + (s.out_c & 1);
    uint32_t *const end = column + 3 * by->pairs;
    int8_t *const spare = (int8_t *)end;
    int32_t y = first / s.out_w, x = first % s.out_w;
    if ((s.k_h * s.k_w * s.in_c) & 1)
        for (int32_t i = 1; i <= 3; i++)
            end[-i] = 0;
    for (int32_t pixel = first; pixel < last; pixel += 3) {
        const int32_t count = mg_min(last - pixel, 3);
        if (count == 3 && mg_all_inside(s, x)) {
            mg_gather_three_dsp(s, in, y, x, column);
            x += 3;
        } else {
            for (int32_t i = 0; i < count; i++) {
                if (x == s.out_w) {
                    x = 0;
                    y++;
                }
                mg_gather_dsp(s, in, y, x++, column + i);
            }
        }
        if (x == s.out_w) {
            x = 0;
            y++;
        }
        if (padded == s.out_c) {
            block(column, stream, out, by, count > 1 ? s.out_c : 0, (count - 1) * s.out_c);
        } else {
            block(column, stream, spare, by, padded, 2 * padded);
            for (int32_t i = 0; i < count; i++)
                memcpy(out + i * s.out_c, spare + i * padded, (size_t)s.out_c);
        }
        if (low > -128 || high < 127)
            for (int32_t i = 0; i < count * s.out_c; i++)
                out[i] = mg_clamp(out[i], low, high);
        out += 3 * s.out_c;
    }
}

/* A pointwise layer whose inputs are a multiple of four and whose outputs are even. */
typedef struct {
    mg_turns turns;
    uint16_t inputs, outputs;
    mg_block *block;
} mg_pointwise;

MG_KERNEL void mg_pointwise_dsp(const mg_pointwise *d, const int8_t *in, int8_t *out, const void *stream,
                                void *scratch, int32_t first, int32_t last)
{
    uint32_t *const column = scratch;
    const int32_t inputs = d->inputs, outputs = d->outputs;
    in += first * inputs;
    for (; first < last; first += 3, in += 3 * inputs, out += 3 * outputs) {
        const int32_t third = mg_min(last - first - 1, 2), second = third > 0;
        mg_widen_three(column, in, inputs, second ? inputs : 0, third * inputs);
        d->block(column, stream, out, &d->turns, second ? outputs : 0, third * outputs);
    }
}

/* A dense layer of one row. All inputs are read before the first output is written. */
MG_INLINE void mg_dense_dsp(int32_t taps, int32_t channels, const int8_t *in, int8_t *out, const void *stream,
                            uint32_t *column, int32_t pairs, int32_t low, int32_t high, mg_one *block)
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
    block(column, stream, pairs, to, padded / 4);
    if (to != out)
        memcpy(out, to, (size_t)channels);
    if (low > -128 || high < 127)
        for (int32_t i = 0; i < channels; i++)
            out[i] = mg_clamp(out[i], low, high);
}

#endif
