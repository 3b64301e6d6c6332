/* DEPTHWISE_CONV_2D in portable C, channel by channel and, of each, a band of rows at a time: what the band is computed
   from is copied out, padding included, and the outputs are written to the channel's places. Rows that the next band needs
   again are kept, so that it runs in place. */
#ifndef MG_DEPTHWISE_H
#define MG_DEPTHWISE_H

#include "mg_common.h"

/* Rows first to last - 1 of a channel's plane, whose row 0 is row top of the image. Their sides hold padding already, and so
   do rows outside the image unless others were at their places. */
MG_INLINE void mg_plane(const mg_window s, const int8_t *in, int8_t *plane, int32_t width, int32_t top, int32_t first,
                        int32_t last, int32_t replaced)
{
    const int32_t columns = mg_min(s.in_w, width - s.pad_w);
    for (int32_t k = first; k < last; k++) {
        const int32_t y = top + k;
        int8_t *const to = plane + k * width;
        if (y < 0 || y >= s.in_h) {
            if (replaced)
                memset(to, s.padding, (size_t)width);
            continue;
        }
        const int8_t *const from = mg_input_row(s, in, y);
        for (int32_t x = 0; x < columns; x++)
            to[x + s.pad_w] = from[x * s.in_c];
    }
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

/* Output pixels first to last - 1, which are whole rows; a band has so many of them. An odd width reads one stride beyond
   the plane, where scratch memory goes on. */
MG_INLINE void mg_depthwise(const mg_window s, const int8_t *in, int8_t *out, const void *scales, int8_t *plane,
                            int32_t first, int32_t last, int32_t band, int32_t width, int32_t exact, int32_t number,
                            int32_t low, int32_t high)
{
    const int32_t begin = first / s.out_w, end = last / s.out_w;
    const int32_t span = (s.k_h - 1) * s.dilation_h + 1, moved = band * s.stride_h;
    const int32_t kept = mg_max(span - s.stride_h, 0);
    const int8_t *w = mg_behind(scales, s.out_c, exact);
    memset(plane, s.padding, (size_t)((moved - s.stride_h + span) * width));
    for (int32_t c = 0; c < s.out_c; c++, w += s.k_h * s.k_w) {
        int8_t *to = out + c;
        for (int32_t top = begin; top < end; top += band) {
            const int32_t rows = mg_min(band, end - top);
            if (top > begin)
                memmove(plane, plane + moved * width, (size_t)(kept * width));
            mg_plane(s, in + c / (s.out_c / s.in_c), plane, width, top * s.stride_h - s.pad_h, top > begin ? kept : 0,
                     (rows - 1) * s.stride_h + span, band < s.out_h);
            for (int32_t y = 0; y < rows; y++)
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
}

#endif
