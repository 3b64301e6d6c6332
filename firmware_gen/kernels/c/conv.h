/* CONV_2D and FULLY_CONNECTED in portable C: one pixel's inputs are gathered, then all channels computed from them. */
#ifndef MG_CONV_H
#define MG_CONV_H

#include "mg_common.h"
#include "mg_dot.h"

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
        const int8_t *const from = mg_input_row(s, in, row);
        if (s.dilation_w == 1 && left >= 0 && left + s.k_w <= s.in_w) {
            mg_copy(column, from + left * s.in_c, s.k_w * s.in_c);
            continue;
        }
        /* Unsigned: what lies left of the row is beyond its end, too, and no sum overflows, which a compiler that follows
           paths no pixel takes would warn of. */
        uint32_t at = (uint32_t)left;
        for (int32_t kx = 0; kx < s.k_w; kx++, at += (uint32_t)s.dilation_w) {
            if (at >= (uint32_t)s.in_w)
                mg_fill(column + kx * s.in_c, s.padding, s.in_c);
            else
                mg_copy(column + kx * s.in_c, from + at * (uint32_t)s.in_c, s.in_c);
        }
    }
}

/* Loads stay where they are: reading all weights ahead takes registers that sums need. */
#define MG_IN_ORDER __asm__ volatile("" ::: "memory")

/* Four channels of one pixel: their weights lie side by side, tap by tap. Stored with 128 added they are unsigned, which
   Armv6-M reads in one instruction; 128 times the sum of the inputs is then taken off. */
MG_INLINE void mg_four(const int8_t *column, const int8_t *w, int32_t taps, int32_t added, int32_t *sums)
{
    const uint8_t *u = (const uint8_t *)w;
    int32_t a = added, b = added, c = added, d = added;
#pragma GCC unroll 4
    for (const int8_t *const end = column + taps; column != end; column++, u += 4) {
        const int32_t x = column[0];
        a += x * u[0];
        b += x * u[1];
        c += x * u[2];
        d += x * u[3];
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* Of two pixels: each weight is read once for both. */
MG_INLINE void mg_four_of_two(const int8_t *column, const int8_t *w, int32_t taps, int32_t *sums)
{
    int32_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
#pragma GCC unroll 2
    for (const int8_t *const end = column + taps; column != end; column++, w += 4) {
        const int32_t x = column[0], y = column[taps];
        int32_t v = w[0];
        a += x * v;
        e += y * v;
        MG_IN_ORDER;
        v = w[1];
        b += x * v;
        f += y * v;
        MG_IN_ORDER;
        v = w[2];
        c += x * v;
        g += y * v;
        MG_IN_ORDER;
        v = w[3];
        d += x * v;
        h += y * v;
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d, sums[4] = e, sums[5] = f, sums[6] = g, sums[7] = h;
}

/* Output pixels first to last - 1, written from out on, several at a time. Without a place to gather at, the input is the
   one column there is. */
MG_INLINE void mg_conv(const mg_window s, const int8_t *in, int8_t *out, const void *scales, int8_t *gathered,
                       int32_t first, int32_t last, int32_t together, int32_t exact, int32_t number, int32_t low,
                       int32_t high)
{
    const int32_t taps = s.k_h * s.k_w * s.in_c;
    const int8_t *const column = gathered ? gathered : in;
    const int8_t *const weights = mg_behind(scales, s.out_c, exact);
    for (int32_t pixel = first; pixel < last; pixel += together, out += together * s.out_c) {
        const int32_t count = mg_min(together, last - pixel);
        for (int32_t p = 0; gathered && p < count; p++)
            mg_gather(s, in, (pixel + p) / s.out_w, (pixel + p) % s.out_w, gathered + p * taps);
        int32_t added = 0;
        if (together == 1)
            for (int32_t i = 0; i < taps; i++)
                added -= column[i] * 128;
        const int8_t *w = weights;
        int32_t c = 0;
        for (; c + 4 <= s.out_c; c += 4, w += 4 * taps) {
            int32_t sums[8];
            if (together == 2)
                mg_four_of_two(column, w, taps, sums);
            else
                mg_four(column, w, taps, added, sums);
            for (int32_t p = 0; p < count; p++)
                for (int32_t k = 0; k < 4; k++)
                    out[p * s.out_c + c + k] = mg_scaled(sums[4 * p + k], scales, c + k, exact, number, low, high);
        }
        for (; c < s.out_c; c++, w += taps)
            for (int32_t p = 0; p < count; p++)
                out[p * s.out_c + c] =
                    mg_scaled(mg_dot(column + p * taps, w, taps), scales, c, exact, number, low, high);
    }
}

#endif
