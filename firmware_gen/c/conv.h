/* CONV_2D and FULLY_CONNECTED in portable C: one pixel's inputs are gathered, then all channels computed from them. */
#ifndef MG_CONV_H
#define MG_CONV_H

#include "mg_common.h"

/* Copies the inputs of output pixel (y, x) to column, padding included. */
MG_INLINE void mg_gather(const mg_window s, const int8_t *in, int32_t y, int32_t x, int8_t *column)
{
    const int32_t left = x * s.stride_w - s.pad_w;
    for (int32_t ky = 0; ky < s.k_h; ky++, column += s.k_w * s.in_c) {
        const int32_t row = y * s.stride_h - s.pad_h + ky * s.dilation_h;
        if (row < 0 || row >= s.in_h) {
            mg_fill(column, s.padding, s.k_w * s.in_c);
            continue;
        }
        const int8_t *const from = in + (s.ring < s.in_h ? row % s.ring : row) * s.in_w * s.in_c;
        if (s.dilation_w == 1 && left >= 0 && left + s.k_w <= s.in_w) {
            mg_copy(column, from + left * s.in_c, s.k_w * s.in_c);
            continue;
        }
        for (int32_t kx = 0; kx < s.k_w; kx++) {
            const int32_t at = left + kx * s.dilation_w;
            if (at < 0 || at >= s.in_w)
                mg_fill(column + kx * s.in_c, s.padding, s.in_c);
            else
                mg_copy(column + kx * s.in_c, from + at * s.in_c, s.in_c);
        }
    }
}

MG_INLINE int32_t mg_dot(const int8_t *a, const int8_t *b, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Output pixels first to last - 1, written from out on. */
MG_INLINE void mg_conv(const mg_window s, const int8_t *in, int8_t *out, const mg_affine *scales, int8_t *column,
                       int32_t first, int32_t last, int32_t shift, int32_t low, int32_t high)
{
    const int32_t taps = s.k_h * s.k_w * s.in_c;
    const int8_t *const weights = (const int8_t *)(scales + s.out_c);
    for (int32_t pixel = first; pixel < last; pixel++) {
        mg_gather(s, in, pixel / s.out_w, pixel % s.out_w, column);
        const int8_t *w = weights;
        int32_t c = 0;
        for (; c + 2 <= s.out_c; c += 2, w += 2 * taps) {
            int32_t a = 0, b = 0;
            for (int32_t i = 0; i < taps; i++) {
                const int32_t x = column[i];
                a += x * w[i];
                b += x * w[taps + i];
            }
            *out++ = mg_clamp(mg_apply(a, scales + c, shift), low, high);
            *out++ = mg_clamp(mg_apply(b, scales + c + 1, shift), low, high);
        }
        for (; c < s.out_c; c++, w += taps)
            *out++ = mg_clamp(mg_apply(mg_dot(column, w, taps), scales + c, shift), low, high);
    }
}

/* The same with the reference's own rescaling. */
MG_INLINE void mg_conv_exact(const mg_window s, const int8_t *in, int8_t *out, const mg_exact *scales, int8_t *column,
                             int32_t first, int32_t last, int32_t zero_point, int32_t low, int32_t high)
{
    const int32_t taps = s.k_h * s.k_w * s.in_c;
    const int8_t *const weights = (const int8_t *)(scales + s.out_c);
    for (int32_t pixel = first; pixel < last; pixel++) {
        mg_gather(s, in, pixel / s.out_w, pixel % s.out_w, column);
        for (int32_t c = 0; c < s.out_c; c++) {
            const int32_t sum = scales[c].bias + mg_dot(column, weights + c * taps, taps);
            *out++ = mg_clamp(mg_rescale(sum, scales[c].multiplier, scales[c].shift) + zero_point, low, high);
        }
    }
}

#endif
