/* DEPTHWISE_CONV_2D pixel by pixel for cores with the Armv7E-M DSP instructions: for few outputs, or strides that leave out
   most places. */
#ifndef MG_DEPTHWISE_DIRECT_DSP_H
#define MG_DEPTHWISE_DIRECT_DSP_H

#include "mg_affine_dsp.h"

typedef struct {
    int32_t a, b, c, d;
} mg_direct_sums;

/* Four products of int8, each added to its sum. */
MG_INLINE mg_direct_sums mg_four_taps(uint32_t x, uint32_t w, mg_direct_sums sums)
{
    uint32_t even, odd, by;
    __asm__("sxtb16 %[even], %[x]\n\t"
            "sxtb16 %[odd], %[x], ror #8\n\t"
            "sxtb16 %[by], %[w]\n\t"
            "smlabb %[a], %[even], %[by], %[a]\n\t"
            "smlatt %[c], %[even], %[by], %[c]\n\t"
            "sxtb16 %[by], %[w], ror #8\n\t"
            "smlabb %[b], %[odd], %[by], %[b]\n\t"
            "smlatt %[d], %[odd], %[by], %[d]"
            : [even] "=&r"(even), [odd] "=&r"(odd), [by] "=&r"(by), [a] "+r"(sums.a), [b] "+r"(sums.b),
              [c] "+r"(sums.c), [d] "+r"(sums.d)
            : [x] "r"(x), [w] "r"(w));
    return sums;
}

/* Output pixels first to last - 1: four output channels of a pixel at a time, of as many input channels or of one. Their
   weights lie side by side, tap by tap; the last four channels overlap those before. */
MG_INLINE void mg_depthwise_direct_dsp(const mg_window *s, const int8_t *in, int8_t *out, const void *scales,
                                       int32_t first, int32_t last, int32_t exact, int32_t number, int32_t low,
                                       int32_t high)
{
    const int32_t times = s->out_c / s->in_c, step = s->dilation_w * s->in_c;
    const int32_t reach = (s->k_w - 1) * s->dilation_w + 1;
    const int8_t padding[4] = {(int8_t)s->padding, (int8_t)s->padding, (int8_t)s->padding, (int8_t)s->padding};
    const int8_t *const weights = mg_behind(scales, s->out_c, exact);
    int32_t y = first / s->out_w, x = first % s->out_w;
    for (; first < last; first++, out += s->out_c, x = x + 1 < s->out_w ? x + 1 : 0, y += x == 0) {
        const int32_t left = x * s->stride_w - s->pad_w;
        const int8_t *w = weights;
        for (int32_t four = 0; four < s->out_c; four += 4) {
            const int32_t c = mg_min(four, s->out_c - 4);
            mg_direct_sums sums = {0, 0, 0, 0};
            for (int32_t ky = 0; ky < s->k_h; ky++) {
                const int32_t row = y * s->stride_h - s->pad_h + ky * s->dilation_h;
                const int32_t width = row >= 0 && row < s->in_h ? s->in_w : 0;
                const int8_t *from = mg_input_row(*s, in, width ? row : 0) + left * s->in_c + c / times;
                const int8_t *const end = w + 4 * s->k_w;
                if (times == 1 && left >= 0 && left + reach <= width) {
                    for (; w != end; w += 4, from += step)
                        sums = mg_four_taps(mg_load(from), mg_load(w), sums);
                    continue;
                }
                for (uint32_t at = (uint32_t)left; w != end; w += 4, from += step, at += (uint32_t)s->dilation_w) {
                    const int8_t *const given = at < (uint32_t)width ? from : padding;
                    const uint32_t word = times == 1 ? mg_load(given) : (uint8_t)*given * 0x01010101u;
                    sums = mg_four_taps(word, mg_load(w), sums);
                }
            }
            const int32_t all[4] = {sums.a, sums.b, sums.c, sums.d};
            for (int32_t i = 0; i < 4; i++) {
                const mg_affine *const by = (const mg_affine *)scales + c + i;
                if (exact)
                    out[c + i] = mg_scaled(all[i], scales, c + i, 1, number, low, high);
                else
                    out[c + i] = mg_clamp(mg_scaled_dsp(all[i], by, number), low, high);
            }
        }
    }
}

#endif
