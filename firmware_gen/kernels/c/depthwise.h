/* DEPTHWISE_CONV_2D in portable C, channel by channel: the channel's plane is copied out, padding included, and its
   outputs are written back to the channel's places. With as many outputs as inputs per pixel it runs in place. */
#ifndef MG_DEPTHWISE_H
#define MG_DEPTHWISE_H

#include "mg_common.h"

MG_INLINE void mg_plane(const mg_window s, const int8_t *in, int8_t *plane, int32_t height, int32_t width)
{
    memset(plane, s.padding, (size_t)(height * width));
    const int32_t rows = mg_min(s.in_h, height - s.pad_h);
    const int32_t columns = mg_min(s.in_w, width - s.pad_w);
    for (int32_t y = 0; y < rows; y++)
        for (int32_t x = 0; x < columns; x++)
            plane[(y + s.pad_h) * width + x + s.pad_w] = in[(y * s.in_w + x) * s.in_c];
}

/* Two outputs side by side: each weight is read once for both. */
MG_INLINE void mg_depthwise_sums(const mg_window s, const int8_t *at, const int8_t *w, int32_t width, int32_t *sums)
{
    int32_t a = 0, b = 0;
#pragma GCC unroll 5
    for (int32_t ky = 0; ky < s.k_h; ky++)
#pragma GCC unroll 5
        for (int32_t kx = 0; kx < s.k_w; kx++) {
            const int8_t *const from = at + ky * s.dilation_h * width + kx * s.dilation_w;
            const int32_t v = w[ky * s.k_w + kx];
            a += v * from[0];
            b += v * from[s.stride_w];
        }
    sums[0] = a, sums[1] = b;
}

/* An odd width reads one stride beyond the plane, where scratch memory goes on. */
MG_INLINE void mg_depthwise(const mg_window s, const int8_t *in, int8_t *out, const void *scales, int8_t *plane,
                            int32_t height, int32_t width, int32_t exact, int32_t number, int32_t low, int32_t high)
{
    const int8_t *w = mg_behind(scales, s.out_c, exact);
    for (int32_t c = 0; c < s.out_c; c++, w += s.k_h * s.k_w) {
        mg_plane(s, in + c / (s.out_c / s.in_c), plane, height, width);
        int8_t *to = out + c;
        for (int32_t y = 0; y < s.out_h; y++)
            for (int32_t x = 0; x < s.out_w; x += 2) {
                int32_t sums[2];
                mg_depthwise_sums(s, plane + y * s.stride_h * width + x * s.stride_w, w, width, sums);
                *to = mg_scaled(sums[0], scales, c, exact, number, low, high);
                to += s.out_c;
                if (x + 1 < s.out_w) {
                    *to = mg_scaled(sums[1], scales, c, exact, number, low, high);
                    to += s.out_c;
                }
            }
    }
}

#endif
