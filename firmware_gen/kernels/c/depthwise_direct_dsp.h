/* DEPTHWISE_CONV_2D pixel by pixel for cores with the Armv7E-M DSP instructions: for few outputs, or strides that leave out
   most places. One function for all shapes. */
#ifndef MG_DEPTHWISE_DIRECT_DSP_H
#define MG_DEPTHWISE_DIRECT_DSP_H

#include "mg_common.h"

/* The part of a kernel that lies in the image. A row of taps takes so many unrolled turns, of which the first is entered at
   so many bytes of code; in bytes what is between a row's end and the next one in input and weights; rows; in bytes from
   four channels to the next four in input and weights; how far sums are shifted beyond 32 bits, or the reference's zero
   point; the negative zero point, once or twice in a word; in bytes from tap to tap. */
typedef struct {
    int32_t entry, turns, gap, weights_gap, rows, next, weights_next, number, zero, step;
} mg_direct_part;

/* Computes channels until end is reached. Scales are, of four channels each, what their sums begin with, then a multiplier
   and what is added for each; or the reference's, a channel each. */
typedef void mg_direct_pixel(const int8_t *from, const int8_t *w, void *out, const mg_exact *scales,
                             const mg_direct_part *by, void *end);

#define MG_DIRECT_ARGUMENTS                                                                                   \
    const int8_t *from __attribute__((unused)), const int8_t *w __attribute__((unused)),                     \
        void *out __attribute__((unused)), const mg_exact *scales __attribute__((unused)),                  \
        const mg_direct_part *by __attribute__((unused)), void *end __attribute__((unused))

/* The window in fewer bytes than mg_window has. The assembly takes so many taps a turn, whose code has so many bytes for the
   first of two and for both. */
typedef struct {
    mg_direct_pixel *pixel;
    uint16_t in_h, in_w, in_c, out_w, out_c, k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
    int16_t padding, number;
    uint8_t turn, first_bytes, both_bytes;
    int8_t low, high;
} mg_direct;

/* Which of so many taps, a dilation apart from a place on, lie in an image of that size: the first, and 65536 times how
   many. */
MG_KERNEL uint32_t mg_inside_of(int32_t at, int32_t taps, int32_t dilation, int32_t size)
{
    const int32_t first = mg_max(dilation - 1 - at, 0) / dilation;
    const int32_t last = mg_min(mg_max(size - at + dilation - 1, 0) / dilation, taps);
    return last > first ? (uint32_t)first | (uint32_t)(last - first) << 16 : 0;
}

/* The reference's own rescaling: the assembly leaves the sums as they are. */
MG_INLINE void mg_direct_exact(const int8_t *from, const int8_t *w, int8_t *out, const mg_exact *scales,
                               const mg_direct_part *by, const int8_t *end, mg_direct_pixel *sum)
{
    for (; out != end; from += by->next, w += by->weights_next, out += 4, scales += 4) {
        int32_t sums[4];
        sum(from, w, sums, scales, by, sums + 4);
        for (int32_t i = 0; i < 4; i++)
            out[i] = mg_scaled(sums[i], scales, i, 1, by->number, -128, 127);
    }
}

/* Output pixels first to last - 1; the last four channels overlap those before. */
MG_KERNEL void mg_depthwise_direct_dsp(const mg_direct *d, const int8_t *in, int8_t *out, const void *scales,
                                       void *scratch, int32_t first, int32_t last)
{
    const mg_exact *const each = scales;
    const int32_t out_c = d->out_c, in_c = d->in_c, times = out_c / in_c, run = times > 1 ? times : out_c & ~3;
    const int32_t step = d->dilation_w * in_c, line = d->in_w * in_c, kernel = 4 * d->k_h * d->k_w;
    const int8_t *const weights = (const int8_t *)(each + (out_c + 3) / 4 * 4);
    const int32_t span = (d->k_w - 1) * d->dilation_w, low = d->low, high = d->high;
    mg_direct_part by = {0, 0, 0, 0, 0, times > 1 ? 0 : 4, kernel, d->number, -d->padding, step};
    int8_t *const begin = out;
    int32_t top = first / d->out_w * d->stride_h - d->pad_h, x = first % d->out_w, odd = 0;
    (void)scratch;
    if (times == 1)
        by.zero = (int32_t)(((uint32_t)by.zero & 0xffffu) * 0x10001u);
    for (; first < last; top += d->stride_h, x = 0) {
        const uint32_t rows = mg_inside_of(top, d->k_h, d->dilation_h, d->in_h);
        const int32_t upper = (int32_t)(rows & 0xffffu);
        const int8_t *const row = in + (top + upper * d->dilation_h) * line;
        int32_t left = x * d->stride_w - d->pad_w, whole = 0, beginning = 0;
        for (; first < last && x < d->out_w; first++, x++, left += d->stride_w) {
            const int32_t inside = left >= 0 && left + span < d->in_w;
            if (!whole || !inside) {
                const uint32_t columns = mg_inside_of(left, d->k_w, d->dilation_w, d->in_w);
                const int32_t taps = (int32_t)(columns >> 16);
                beginning = (int32_t)(columns & 0xffffu);
                by.turns = (taps + d->turn - 1) / d->turn;
                const int32_t lacking = by.turns * d->turn - taps;
                odd = lacking & 1;
                /* The lowest bit is that of Thumb code. */
                by.entry = (lacking >> 1) * d->both_bytes + odd * d->first_bytes + 1;
                by.gap = d->dilation_h * line - (taps + odd) * step;
                by.weights_gap = 4 * (d->k_w - taps);
                by.rows = taps > 0 ? (int32_t)(rows >> 16) : 0;
                whole = inside;
            }
            const int8_t *const from = row + left * in_c + (beginning - odd) * step;
            const int8_t *w = weights + 4 * (upper * d->k_w + beginning);
            int32_t c = 0;
            for (; c + run <= out_c; c += run, w += run / 4 * kernel)
                d->pixel(from + c / times, w, out + c, each + c, &by, out + c + run);
            if (c < out_c)
                d->pixel(from + out_c - 4, w, out + out_c - 4, each + c, &by, out + out_c);
            out += out_c;
        }
    }
    for (int8_t *at = begin; (low > -128 || high < 127) && at < out; at++)
        *at = mg_clamp(*at, low, high);
}

#endif
