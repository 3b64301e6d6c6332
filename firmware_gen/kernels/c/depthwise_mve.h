/* DEPTHWISE_CONV_2D for Helium: sixteen channels at a time, over a ring of the rows that an output row reads. */
#ifndef MG_DEPTHWISE_MVE_H
#define MG_DEPTHWISE_MVE_H

#include "mg_mve.h"

/* One tap of sixteen channels; from and w move on to the next. Even and odd lanes are multiplied apart, as their products
   have 16 bits. The statements are assembly so that none is moved: the compiler would load all taps ahead, and spill most
   of them. */
typedef struct {
    int16x8_t even, odd;
    const int8_t *from, *w;
} mg_taps_mve;

#if defined(__OPTIMIZE__) && !defined(__clang__)
MG_INLINE void mg_tap_mve(mg_taps_mve *t, int32_t step, int32_t is_first)
{
    int16x8_t product;
    if (is_first)
        __asm__ volatile("vldrb.8 q6, [%[from]], %[step]\n\t"
                         "vldrb.8 q7, [%[w]], #16\n\t"
                         "vmullb.s8 %q[even], q6, q7\n\t"
                         "vmullt.s8 %q[odd], q6, q7"
                         : [even] "=&w"(t->even), [odd] "=&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w)
                         : [step] "i"(step)
                         : "q6", "q7", "memory");
    else
        __asm__ volatile("vldrb.8 q6, [%[from]], %[step]\n\t"
                         "vldrb.8 q7, [%[w]], #16\n\t"
                         "vmullb.s8 %q[product], q6, q7\n\t"
                         "vadd.i16 %q[even], %q[even], %q[product]\n\t"
                         "vmullt.s8 q6, q6, q7\n\t"
                         "vadd.i16 %q[odd], %q[odd], q6"
                         : [even] "+&w"(t->even), [odd] "+&w"(t->odd), [from] "+r"(t->from), [w] "+r"(t->w),
                           [product] "=&w"(product)
                         : [step] "i"(step)
                         : "q6", "q7", "memory");
}

/* sum += the even (b), or odd (t), lanes of x, widened. */
#define MG_WIDEN_MVE(half, sum, x)                                                                                    \
    __asm__ volatile("vmovl" #half ".s16 q6, %q[lanes]\n\tvadd.i32 %q[to], %q[to], q6"                                 \
                     : [to] "+w"(sum)                                                                                 \
                     : [lanes] "w"(x)                                                                                 \
                     : "q6")
#else
MG_INLINE void mg_tap_mve(mg_taps_mve *t, int32_t step, int32_t is_first)
{
    const int8x16_t x = vldrbq_s8(t->from), w = vldrbq_s8(t->w);
    const int16x8_t even = vmullbq_int_s8(x, w), odd = vmulltq_int_s8(x, w);
    t->even = is_first ? even : vaddq_s16(t->even, even);
    t->odd = is_first ? odd : vaddq_s16(t->odd, odd);
    t->from += step;
    t->w += 16;
}

#define MG_WIDEN_MVE_b(x) vmovlbq_s16(x)
#define MG_WIDEN_MVE_t(x) vmovltq_s16(x)
#define MG_WIDEN_MVE(half, sum, x) ((sum) = vaddq_s32(sum, MG_WIDEN_MVE_##half(x)))
#endif

MG_INLINE int32x4_t mg_scaled_mve(int32x4_t sum, const int32_t *scales)
{
    return mg_rescale_mve(sum, vldrwq_s32(scales), vldrwq_s32(scales + 16));
}

/* One output pixel of one block, `at` bytes into the rows that the kernel covers. Products of `together`
   taps in a row have sums that always fit 16 bits. VMOVLB and VMOVLT widen their even and odd lanes: sums hold channels
   0 4 8 12, 2 6 10 14, 1 5 9 13, 3 7 11 15. So do the constants: 16 biases, the weights tap by tap, 16 multipliers, 16
   shifts. */
MG_INLINE int8x16_t mg_depthwise_pixel_mve(const mg_window s, const int8_t *const *rows, int32_t at, const int8_t *w,
                                           int32_t together, int32_t zero_point, int32_t low, int32_t high)
{
    const int32_t taps = s.k_h * s.k_w;
    const int32_t *const bias = (const int32_t *)(const void *)w;
    int32x4_t a = vldrwq_s32(bias), b = vldrwq_s32(bias + 4), c = vldrwq_s32(bias + 8), d = vldrwq_s32(bias + 12);
    mg_taps_mve t = {vdupq_n_s16(0), vdupq_n_s16(0), rows[0] + at, w + 64};
#pragma GCC unroll 32
    for (int32_t first = 0; first < taps; first += together) {
#pragma GCC unroll 32
        for (int32_t tap = first; tap < mg_min(first + together, taps); tap++) {
            if (tap % s.k_w == 0)
                t.from = rows[tap / s.k_w] + at;
            mg_tap_mve(&t, 16 * s.dilation_w, tap == first);
        }
        MG_WIDEN_MVE(b, a, t.even);
        MG_WIDEN_MVE(t, b, t.even);
        MG_WIDEN_MVE(b, c, t.odd);
        MG_WIDEN_MVE(t, d, t.odd);
    }
    const int32_t *const scales = (const int32_t *)(const void *)t.w;
    int16x8_t even = vqmovnbq_s32(vuninitializedq_s16(), mg_scaled_mve(a, scales));
    even = vqaddq_n_s16(vqmovntq_s32(even, mg_scaled_mve(b, scales + 4)), (int16_t)zero_point);
    int16x8_t odd = vqmovnbq_s32(vuninitializedq_s16(), mg_scaled_mve(c, scales + 8));
    odd = vqaddq_n_s16(vqmovntq_s32(odd, mg_scaled_mve(d, scales + 12)), (int16_t)zero_point);
    const int8x16_t result = vqmovntq_s16(vqmovnbq_s16(vuninitializedq_s8(), even), odd);
    return vminq_s8(vmaxq_s8(result, vdupq_n_s8((int8_t)low)), vdupq_n_s8((int8_t)high));
}

/* Puts sixteen channels of an input row into the ring, or padding. */
MG_INLINE void mg_ring_row_mve(const mg_window s, const int8_t *in, int32_t y, int8_t *to, int32_t width,
                               mve_pred16_t some)
{
    if (y < 0 || y >= s.in_h) {
        mg_fill(to, s.padding, 16 * width);
        return;
    }
    to += 16 * s.pad_w;
    in = mg_input_row(s, in, y);
    for (int32_t x = mg_min(s.in_w, width - s.pad_w); x > 0; x--, in += s.in_c, to += 16)
        vstrbq_s8(to, vldrbq_z_s8(in, some));
}

/* Output pixels first to last - 1, which are whole rows. The sides of the ring's rows are filled with padding before each
   block and keep it. */
MG_INLINE void mg_depthwise_mve(const mg_window s, const int8_t *in, int8_t *out, const void *constants, int8_t *ring,
                                int32_t first, int32_t last, int32_t width, int32_t together, int32_t zero_point,
                                int32_t low, int32_t high)
{
    const int32_t begin = first / s.out_w, end = last / s.out_w;
    const int32_t slots = (s.k_h - 1) * s.dilation_h + 1;
    const int8_t *w = constants;
    for (int32_t c = 0; c < s.out_c; c += 16, w += 192 + 16 * s.k_h * s.k_w) {
        const mve_pred16_t some = vctp8q((uint32_t)(s.out_c - c));
        int8_t *to = out + c;
        int32_t held = begin * s.stride_h; /* The row of the padded image that comes into the ring next. */
        mg_fill(ring, s.padding, 16 * slots * width);
        for (int32_t y = begin; y < end; y++) {
            for (; held < y * s.stride_h + slots; held++)
                mg_ring_row_mve(s, in + c, held - s.pad_h, ring + held % slots * 16 * width, width, some);
            const int8_t *rows[16];
            for (int32_t ky = 0; ky < s.k_h; ky++)
                rows[ky] = ring + (y * s.stride_h + ky * s.dilation_h) % slots * 16 * width;
            for (int32_t x = 0; x < s.out_w; x++, to += s.out_c) {
                const int8x16_t result = mg_depthwise_pixel_mve(s, rows, 16 * x * s.stride_w, w, together, zero_point,
                                                                low, high);
                if (s.out_c % 16 == 0)
                    vstrbq_s8(to, result);
                else
                    vstrbq_p_s8(to, result, some);
            }
        }
    }
}

#endif
