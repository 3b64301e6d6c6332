/* DEPTHWISE_CONV_2D for Helium: sixteen channels of a pixel at a time. */
#ifndef MG_DEPTHWISE_MVE_H
#define MG_DEPTHWISE_MVE_H

#include "mg_conv.h"
#include "mg_mve.h"

/* One tap of sixteen channels; from moves on by step, w to the next tap's weights. Even and odd lanes are multiplied
   apart, as their products have 16 bits. The statements are assembly so that none is moved: the compiler would load all
   taps ahead, and spill most of them. */
#define MG_TAP_LOAD "vldrb.8 q6, [%[from]]\n\t"
#define MG_TAP_LOAD_SOME "vpst\n\tvldrbt.u8 q6, [%[from]]\n\t"
#define MG_TAP_FIRST                                                                                                \
    "vldrb.8 q7, [%[w]], #16\n\t"                                                                                  \
    "add %[from], %[from], %[step]\n\t"                                                                            \
    "vmullb.s8 %q[even], q6, q7\n\t"                                                                               \
    "vmullt.s8 %q[odd], q6, q7"
#define MG_TAP_NEXT                                                                                                 \
    "vldrb.8 q7, [%[w]], #16\n\t"                                                                                  \
    "add %[from], %[from], %[step]\n\t"                                                                            \
    "vmullb.s8 %q[product], q6, q7\n\t"                                                                            \
    "vadd.i16 %q[even], %q[even], %q[product]\n\t"                                                                 \
    "vmullt.s8 q6, q6, q7\n\t"                                                                                     \
    "vadd.i16 %q[odd], %q[odd], q6"
#define MG_TAP_CLOBBERS "q6", "q7", "memory"

typedef struct {
    int16x8_t even, odd;
    const int8_t *from, *w;
} mg_taps_mve;

MG_INLINE void mg_tap_mve(mg_taps_mve *t, int32_t step, int32_t is_first, int32_t whole, mve_pred16_t some)
{
    int16x8_t product;
    if (is_first && whole)
        __asm__ volatile(MG_TAP_LOAD MG_TAP_FIRST
                         : [even] "=&w"(t->even), [odd] "=&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w)
                         : [step] "r"(step)
                         : MG_TAP_CLOBBERS);
    else if (is_first)
        __asm__ volatile(MG_TAP_LOAD_SOME MG_TAP_FIRST
                         : [even] "=&w"(t->even), [odd] "=&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w)
                         : [step] "r"(step), [some] "Up"(some)
                         : MG_TAP_CLOBBERS);
    else if (whole)
        __asm__ volatile(MG_TAP_LOAD MG_TAP_NEXT
                         : [even] "+&w"(t->even), [odd] "+&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w),
                           [product] "=&w"(product)
                         : [step] "r"(step)
                         : MG_TAP_CLOBBERS);
    else
        __asm__ volatile(MG_TAP_LOAD_SOME MG_TAP_NEXT
                         : [even] "+&w"(t->even), [odd] "+&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w),
                           [product] "=&w"(product)
                         : [step] "r"(step), [some] "Up"(some)
                         : MG_TAP_CLOBBERS);
}

/* sum += the even, or odd, lanes of x, widened. */
#define MG_WIDEN_MVE(half, sum, x)                                                                                  \
    __asm__ volatile("vmovl" half ".s16 q6, %q[lanes]\n\tvadd.i32 %q[to], %q[to], q6"                               \
                     : [to] "+w"(sum)                                                                               \
                     : [lanes] "w"(x)                                                                               \
                     : "q6")

MG_INLINE int32x4_t mg_scaled_mve(int32x4_t sum, const int32_t *scales)
{
    return mg_rescale_mve(sum, vldrwq_s32(scales), vldrwq_s32(scales + 16));
}

/* One block: products of `together` taps in a row have sums that always fit 16 bits. VMOVLB and VMOVLT widen their even
   and odd lanes: sums hold channels 0 4 8 12, 2 6 10 14, 1 5 9 13, 3 7 11 15. So do the constants: 16 biases, the
   weights tap by tap, 16 multipliers, 16 shifts. */
MG_INLINE const int8_t *mg_depthwise_block_mve(const mg_window s, const int8_t *from, int32_t row, int32_t column,
                                               const int8_t *w, int8_t *out, int32_t together, int32_t zero_point,
                                               int32_t low, int32_t high, mve_pred16_t some)
{
    const int32_t taps = s.k_h * s.k_w, whole = s.out_c % 16 == 0, next_row = row - (s.k_w - 1) * column;
    const int32_t *const bias = (const int32_t *)(const void *)w;
    int32x4_t a = vldrwq_s32(bias), b = vldrwq_s32(bias + 4), c = vldrwq_s32(bias + 8), d = vldrwq_s32(bias + 12);
    mg_taps_mve t = {vdupq_n_s16(0), vdupq_n_s16(0), from, w + 64};
#pragma GCC unroll 32
    for (int32_t first = 0; first < taps; first += together) {
#pragma GCC unroll 32
        for (int32_t tap = first; tap < mg_min(first + together, taps); tap++)
            mg_tap_mve(&t, (tap + 1) % s.k_w ? column : next_row, tap == first, whole, some);
        MG_WIDEN_MVE("b", a, t.even);
        MG_WIDEN_MVE("t", b, t.even);
        MG_WIDEN_MVE("b", c, t.odd);
        MG_WIDEN_MVE("t", d, t.odd);
    }
    w = t.w;
    const int32_t *const scales = (const int32_t *)(const void *)w;
    int16x8_t even = vqmovnbq_s32(vuninitializedq_s16(), mg_scaled_mve(a, scales));
    even = vqaddq_n_s16(vqmovntq_s32(even, mg_scaled_mve(b, scales + 4)), (int16_t)zero_point);
    int16x8_t odd = vqmovnbq_s32(vuninitializedq_s16(), mg_scaled_mve(c, scales + 8));
    odd = vqaddq_n_s16(vqmovntq_s32(odd, mg_scaled_mve(d, scales + 12)), (int16_t)zero_point);
    int8x16_t result = vqmovntq_s16(vqmovnbq_s16(vuninitializedq_s8(), even), odd);
    result = vminq_s8(vmaxq_s8(result, vdupq_n_s8((int8_t)low)), vdupq_n_s8((int8_t)high));
    if (whole)
        vstrbq_s8(out, result);
    else
        vstrbq_p_s8(out, result, some);
    return w + 128;
}

/* Pixels at the border go through a column that holds their padding. */
MG_INLINE void mg_depthwise_mve(const mg_window s, const int8_t *in, int8_t *out, const void *constants,
                                int8_t *column, int32_t together, int32_t zero_point, int32_t low, int32_t high)
{
    for (int32_t y = 0; y < s.out_h; y++)
        for (int32_t x = 0; x < s.out_w; x++, out += s.out_c) {
            const int32_t top = y * s.stride_h - s.pad_h, left = x * s.stride_w - s.pad_w;
            const int32_t inside = top >= 0 && top + (s.k_h - 1) * s.dilation_h < s.in_h && left >= 0 &&
                                   left + (s.k_w - 1) * s.dilation_w < s.in_w;
            const int8_t *from = in + (top * s.in_w + left) * s.in_c;
            int32_t row_step = s.dilation_h * s.in_w * s.in_c, column_step = s.dilation_w * s.in_c;
            if (!inside) {
                mg_gather(s, in, y, x, column);
                from = column;
                row_step = s.k_w * s.in_c;
                column_step = s.in_c;
            }
            const int8_t *w = constants;
            for (int32_t c = 0; c < s.out_c; c += 16)
                w = mg_depthwise_block_mve(s, from + c, row_step, column_step, w, out + c, together, zero_point, low,
                                           high, vctp8q((uint32_t)(s.out_c - c)));
        }
}

#endif
