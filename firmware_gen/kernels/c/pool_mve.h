/* AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width for Helium: channels side by side. */
#ifndef MG_POOL_MVE_H
#define MG_POOL_MVE_H

#include "mg_mve.h"
#include "mg_pool.h"

/* Sixteen channels of a window of rows x columns pixels that begins in row y, so many bytes into it. */
MG_INLINE void mg_max_window_mve(const mg_window s, const int8_t *in, int8_t *out, int32_t y, int32_t at, int32_t rows,
                                 int32_t columns, int32_t low, int32_t high)
{
    for (int32_t c = 0; c < s.in_c; c += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)(s.in_c - c));
        int8x16_t most = vdupq_n_s8((int8_t)low);
        for (int32_t row = y; row < y + rows; row++) {
            const int8_t *from = mg_input_row(s, in, row) + at + c;
            for (int32_t n = columns; n > 0; n--, from += s.in_c)
                most = vmaxq_s8(most, vldrbq_z_s8(from, some));
        }
        vstrbq_p_s8(out + c, vminq_s8(most, vdupq_n_s8((int8_t)high)), some);
    }
}

/* Four channels; their quotients are taken one by one, as the extension does not divide. */
MG_INLINE void mg_mean_window_mve(const mg_window s, const int8_t *in, int8_t *out, int32_t y, int32_t at, int32_t rows,
                                  int32_t columns, int32_t low, int32_t high)
{
    const int32_t count = rows * columns;
    for (int32_t c = 0; c < s.in_c; c += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(s.in_c - c));
        int32x4_t sum = vdupq_n_s32(0);
        for (int32_t row = y; row < y + rows; row++) {
            const int8_t *from = mg_input_row(s, in, row) + at + c;
            for (int32_t n = columns; n > 0; n--, from += s.in_c)
                sum = vaddq_s32(sum, vldrbq_z_s32(from, some));
        }
        int32_t sums[4];
        vstrwq_s32(sums, sum);
        for (int32_t i = 0; i < mg_min(4, s.in_c - c); i++)
            out[c + i] = mg_clamp(mg_quotient(sums[i], count), low, high);
    }
}

/* mg_mean() for shifts that are not to the left. */
MG_INLINE void mg_mean_mve(const int8_t *in, int8_t *out, int32_t pixels, int32_t channels, int32_t zero_sum,
                           int32_t multiplier, int32_t shift, int32_t zero_point)
{
    for (int32_t c = 0; c < channels; c += 4, in += 4, out += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)(channels - c));
        int32x4_t sum = vdupq_n_s32(-zero_sum);
        const int8_t *from = in;
        for (int32_t p = 0; p < pixels; p++, from += channels)
            sum = vaddq_s32(sum, vldrbq_z_s32(from, some));
        sum = vaddq_n_s32(mg_rescale_mve(sum, vdupq_n_s32(multiplier), vdupq_n_s32(shift)), zero_point);
        vstrbq_p_s32(out, vminq_s32(vmaxq_s32(sum, vdupq_n_s32(-128)), vdupq_n_s32(127)), some);
    }
}

/* Output pixels first to last - 1, which are whole rows. */
MG_INLINE void mg_pool_mve(const mg_window s, const int8_t *in, int8_t *out, int32_t first, int32_t last,
                           int32_t average, int32_t low, int32_t high)
{
    for (int32_t y = first / s.out_w; y < last / s.out_w; y++)
        for (int32_t x = 0; x < s.out_w; x++, out += s.in_c) {
            const int32_t top = y * s.stride_h - s.pad_h, left = x * s.stride_w - s.pad_w;
            const int32_t y0 = mg_max(top, 0), rows = mg_min(top + s.k_h, s.in_h) - y0;
            const int32_t x0 = mg_max(left, 0), columns = mg_min(left + s.k_w, s.in_w) - x0;
            if (average)
                mg_mean_window_mve(s, in, out, y0, x0 * s.in_c, rows, columns, low, high);
            else
                mg_max_window_mve(s, in, out, y0, x0 * s.in_c, rows, columns, low, high);
        }
}

#endif
