/* TRANSPOSE_CONV in portable C: every output gathers the inputs that reach it. */
#ifndef MG_TRANSPOSE_CONV_H
#define MG_TRANSPOSE_CONV_H

#include "mg_common.h"

/* The window's input is the operator's; pads are cut off the result's top and left. */
MG_INLINE void mg_transpose_conv(const mg_window s, const int8_t *in, int8_t *out, const mg_exact *scales,
                                 int32_t zero_point)
{
    const int8_t *const weights = (const int8_t *)(scales + s.out_c);
    for (int32_t y = 0; y < s.out_h; y++)
        for (int32_t x = 0; x < s.out_w; x++)
            for (int32_t c = 0; c < s.out_c; c++) {
                int32_t sum = scales[c].bias;
                for (int32_t ky = 0; ky < s.k_h; ky++) {
                    const int32_t down = y + s.pad_h - ky, row = down / s.stride_h;
                    if (down < 0 || down % s.stride_h != 0 || row >= s.in_h)
                        continue;
                    for (int32_t kx = 0; kx < s.k_w; kx++) {
                        const int32_t right = x + s.pad_w - kx, column = right / s.stride_w;
                        if (right < 0 || right % s.stride_w != 0 || column >= s.in_w)
                            continue;
                        const int8_t *const from = in + (row * s.in_w + column) * s.in_c;
                        const int8_t *const w = weights + ((c * s.k_h + ky) * s.k_w + kx) * s.in_c;
                        for (int32_t i = 0; i < s.in_c; i++)
                            sum += (from[i] - s.padding) * w[i];
                    }
                }
                *out++ = mg_clamp(mg_rescale(sum, scales[c].multiplier, scales[c].shift) + zero_point, -128, 127);
            }
}

#endif
