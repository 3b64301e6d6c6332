/* AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width. */
#ifndef MG_POOL_H
#define MG_POOL_H

#include "mg_common.h"

/* The reference's rounding: halves away from zero. */
MG_INLINE int32_t mg_quotient(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

MG_INLINE void mg_pool(const mg_window s, const int8_t *in, int8_t *out, int32_t average, int32_t low, int32_t high)
{
    for (int32_t y = 0; y < s.out_h; y++)
        for (int32_t x = 0; x < s.out_w; x++) {
            const int32_t top = y * s.stride_h - s.pad_h, left = x * s.stride_w - s.pad_w;
            const int32_t y0 = mg_max(top, 0), y1 = mg_min(top + s.k_h, s.in_h);
            const int32_t x0 = mg_max(left, 0), x1 = mg_min(left + s.k_w, s.in_w);
            const int32_t count = (y1 - y0) * (x1 - x0);
            for (int32_t c = 0; c < s.in_c; c++) {
                int32_t value = average ? 0 : -128;
                for (int32_t row = y0; row < y1; row++) {
                    const int8_t *from = in + (row * s.in_w + x0) * s.in_c + c;
                    for (int32_t n = x1 - x0; n > 0; n--, from += s.in_c)
                        value = average ? value + *from : mg_max(value, *from);
                }
                if (average)
                    value = mg_quotient(value, count);
                *out++ = mg_clamp(value, low, high);
            }
        }
}

/* Sums over all pixels, then the reference's rescaling; zero_sum is what zero points add up to. */
MG_INLINE void mg_mean(const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t zero_sum,
                       int32_t multiplier, int32_t shift, int32_t zero_point)
{
    for (int32_t c = 0; c < channels; c++) {
        int32_t sum = -zero_sum;
        for (int32_t p = 0; p < pixels; p++)
            sum += in[p * channels + c];
        out[c] = mg_clamp(mg_rescale(sum, multiplier, shift) + zero_point, -128, 127);
    }
}

#endif
