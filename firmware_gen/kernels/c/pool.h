/* AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width. */
#ifndef MG_POOL_H
#define MG_POOL_H

#include "mg_common.h"

/* The reference's rounding: halves away from zero. */
MG_INLINE int32_t mg_quotient(int32_t sum, int32_t count)
{
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
/* The greater of four pairs of int8. */
MG_INLINE uint32_t mg_greater(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

/* Four channels of a window, whose sums fit 16 bits. */
MG_INLINE void mg_pool_four(const mg_window s, const int8_t *in, int8_t *out, int32_t y0, int32_t y1, int32_t x0,
                            int32_t x1, int32_t average, int32_t low, int32_t high)
{
    uint32_t even = 0, odd = 0, most = 0x80808080u;
    for (int32_t row = y0; row < y1; row++) {
        const int8_t *from = mg_input_row(s, in, row) + x0 * s.in_c;
        for (int32_t n = x1 - x0; n > 0; n--, from += s.in_c) {
            const uint32_t word = mg_load(from);
            if (average) {
                __asm__("sxtab16 %0, %0, %1" : "+r"(even) : "r"(word));
                __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(odd) : "r"(word));
            } else {
                most = mg_greater(most, word);
            }
        }
    }
    const int32_t count = (y1 - y0) * (x1 - x0);
    for (int32_t c = 0; c < 4; c++) {
        const int32_t sum = (int16_t)((c & 1 ? odd : even) >> 8 * (c & 2));
        out[c] = mg_clamp(average ? mg_quotient(sum, count) : (int8_t)(most >> 8 * c), low, high);
    }
}
#define MG_POOL_BY_FOUR(s, average) ((s).in_c % 4 == 0 && (!(average) || (s).k_h * (s).k_w <= 256))
#endif

/* Output pixels first to last - 1, which are whole rows. */
MG_INLINE void mg_pool(const mg_window s, const int8_t *in, int8_t *out, int32_t first, int32_t last, int32_t average,
                       int32_t low, int32_t high)
{
    for (int32_t y = first / s.out_w; y < last / s.out_w; y++)
        for (int32_t x = 0; x < s.out_w; x++) {
            const int32_t top = y * s.stride_h - s.pad_h, left = x * s.stride_w - s.pad_w;
            const int32_t y0 = mg_max(top, 0), y1 = mg_min(top + s.k_h, s.in_h);
            const int32_t x0 = mg_max(left, 0), x1 = mg_min(left + s.k_w, s.in_w);
#ifdef MG_POOL_BY_FOUR
            if (MG_POOL_BY_FOUR(s, average)) {
                for (int32_t c = 0; c < s.in_c; c += 4, out += 4)
                    mg_pool_four(s, in + c, out, y0, y1, x0, x1, average, low, high);
                continue;
            }
#endif
            const int32_t count = (y1 - y0) * (x1 - x0);
            for (int32_t c = 0; c < s.in_c; c++) {
                int32_t value = average ? 0 : -128;
                for (int32_t row = y0; row < y1; row++) {
                    const int8_t *from = mg_input_row(s, in, row) + x0 * s.in_c + c;
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
