/* DEPTHWISE_CONV_2D pixel by pixel for cores with the Armv7E-M DSP instructions: for few outputs, or strides that leave out
   most places. One function for all shapes. */
#ifndef MG_DEPTHWISE_DIRECT_DSP_H
#define MG_DEPTHWISE_DIRECT_DSP_H

#include "mg_common.h"

/* The part of a kernel that lies in the image. A row of taps takes so many unrolled turns, of which the first lacks so many
   taps; in bytes what is between a row's end and the next one in input and weights; rows; in bytes from four channels to
   the next four in input and weights; how far sums are shifted beyond 32 bits, or the reference's zero point; the negative zero point, once or twice in a
   word; in bytes from tap to tap. */
typedef struct {
    int32_t lacking, turns, gap, weights_gap, rows, next, weights_next, shift, zero, step;
} mg_direct_part;

typedef void mg_direct_pixel(const int8_t *from, const int8_t *w, void *out, const mg_affine *scales,
                             const mg_direct_part *by, int32_t fours);

#define MG_DIRECT_ARGUMENTS                                                                                   \
    const int8_t *from __attribute__((unused)), const int8_t *w __attribute__((unused)),                     \
        void *out __attribute__((unused)), const mg_affine *scales __attribute__((unused)),                  \
        const mg_direct_part *by __attribute__((unused)), int32_t fours __attribute__((unused))

/* The assembly takes so many taps a turn. */
typedef struct {
    mg_window over;
    mg_direct_pixel *pixel;
    int32_t turn, scale_bytes, number, low, high;
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
MG_INLINE void mg_direct_exact(const int8_t *from, const int8_t *w, int8_t *out, const mg_affine *scales,
                               const mg_direct_part *by, int32_t fours, mg_direct_pixel *sum)
{
    for (; fours > 0; fours--, from += by->next, w += by->weights_next, out += 4, scales += 4) {
        int32_t sums[4];
        sum(from, w, sums, scales, by, 1);
        for (int32_t i = 0; i < 4; i++)
            out[i] = mg_scaled(sums[i], scales, i, 1, by->shift, -128, 127);
    }
}

/* Output pixels first to last - 1; the last four channels overlap those before. */
MG_KERNEL void mg_depthwise_direct_dsp(const mg_direct *d, const int8_t *in, int8_t *out, const void *scales,
                                       void *scratch, int32_t first, int32_t last)
{
    const mg_window *const s = &d->over;
    const mg_affine *const affine = scales;
    const int32_t out_c = s->out_c, in_c = s->in_c, times = out_c / in_c, run = times > 1 ? times : out_c & ~3;
    const int32_t step = s->dilation_w * in_c, line = s->in_w * in_c, kernel = 4 * s->k_h * s->k_w;
    const int8_t *const weights = (const int8_t *)scales + out_c * d->scale_bytes;
    const int32_t span = (s->k_w - 1) * s->dilation_w, low = d->low, high = d->high;
    mg_direct_part by = {0, 0, 0, 0, 0, times > 1 ? 0 : 4, kernel, d->number, -s->padding, step};
    int8_t *const begin = out;
    int32_t top = first / s->out_w * s->stride_h - s->pad_h, x = first % s->out_w;
    (void)scratch;
    if (times == 1)
        by.zero = (int32_t)(((uint32_t)by.zero & 0xffffu) * 0x10001u);
    for (; first < last; top += s->stride_h, x = 0) {
        const uint32_t rows = mg_inside_of(top, s->k_h, s->dilation_h, s->in_h);
        const int32_t upper = (int32_t)(rows & 0xffffu);
        const int8_t *const row = in + (top + upper * s->dilation_h) * line;
        int32_t left = x * s->stride_w - s->pad_w, whole = 0, beginning = 0;
        for (; first < last && x < s->out_w; first++, x++, left += s->stride_w) {
            const int32_t inside = left >= 0 && left + span < s->in_w;
            if (!whole || !inside) {
                const uint32_t columns = mg_inside_of(left, s->k_w, s->dilation_w, s->in_w);
                const int32_t taps = (int32_t)(columns >> 16);
                beginning = (int32_t)(columns & 0xffffu);
                by.turns = (taps + d->turn - 1) / d->turn;
                by.lacking = by.turns * d->turn - taps;
                by.gap = s->dilation_h * line - taps * step;
                by.weights_gap = 4 * (s->k_w - taps);
                by.rows = taps > 0 ? (int32_t)(rows >> 16) : 0;
                whole = inside;
            }
            const int8_t *from = row + left * in_c + beginning * step, *w = weights + 4 * (upper * s->k_w + beginning);
            int32_t c = 0;
            for (; c + run <= out_c; c += run, w += run / 4 * kernel)
                d->pixel(from + c / times, w, out + c, affine + c, &by, run / 4);
            if (c < out_c)
                d->pixel(from + out_c - 4, w, out + out_c - 4, affine + out_c - 4, &by, 1);
            out += out_c;
        }
    }
    for (int8_t *at = begin; (low > -128 || high < 127) && at < out; at++)
        *at = mg_clamp(*at, low, high);
}

#endif
