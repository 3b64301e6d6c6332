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

MG_INLINE int32_t mg_depthwise_sum(const mg_window s, const int8_t *at, const int8_t *w, int32_t width)
{
    int32_t sum = 0;
    for (int32_t ky = 0; ky < s.k_h; ky++)
        for (int32_t kx = 0; kx < s.k_w; kx++)
            sum += at[ky * s.dilation_h * width + kx * s.dilation_w] * *w++;
    return sum;
}

MG_INLINE void mg_depthwise(const mg_window s, const int8_t *in, int8_t *out, const mg_affine *scales, int8_t *plane,
                            int32_t height, int32_t width, int32_t shift, int32_t low, int32_t high)
{
    const int8_t *w = (const int8_t *)(scales + s.out_c);
    for (int32_t c = 0; c < s.out_c; c++, w += s.k_h * s.k_w) {
        mg_plane(s, in + c / (s.out_c / s.in_c), plane, height, width);
        int8_t *to = out + c;
        for (int32_t y = 0; y < s.out_h; y++)
            for (int32_t x = 0; x < s.out_w; x++, to += s.out_c) {
                const int8_t *const at = plane + y * s.stride_h * width + x * s.stride_w;
                *to = mg_clamp(mg_apply(mg_depthwise_sum(s, at, w, width), scales + c, shift), low, high);
            }
    }
}

MG_INLINE void mg_depthwise_exact(const mg_window s, const int8_t *in, int8_t *out, const mg_exact *scales,
                                  int8_t *plane, int32_t height, int32_t width, int32_t zero_point, int32_t low,
                                  int32_t high)
{
    const int8_t *w = (const int8_t *)(scales + s.out_c);
    for (int32_t c = 0; c < s.out_c; c++, w += s.k_h * s.k_w) {
        mg_plane(s, in + c / (s.out_c / s.in_c), plane, height, width);
        int8_t *to = out + c;
        for (int32_t y = 0; y < s.out_h; y++)
            for (int32_t x = 0; x < s.out_w; x++, to += s.out_c) {
                const int8_t *const at = plane + y * s.stride_h * width + x * s.stride_w;
                const int32_t sum = scales[c].bias + mg_depthwise_sum(s, at, w, width);
                *to = mg_clamp(mg_rescale(sum, scales[c].multiplier, scales[c].shift) + zero_point, low, high);
            }
    }
}

#endif
