/* CONV_2D and FULLY_CONNECTED for Helium: two pixels by four channels at a time, sixteen inputs per VMLADAVA. */
#ifndef MG_CONV_MVE_H
#define MG_CONV_MVE_H

#include "mg_conv.h"
#include "mg_mve.h"

/* What the blocks have to know; groups of sixteen taps, and what follows the sum. */
typedef struct {
    int32_t groups;
    int32_t channels;
    int32_t zero_point;
    int32_t low;
    int32_t high;
} mg_mve_layer;

MG_INLINE const int8_t *mg_sum_mve(const int8_t *w, const int8_t *column, int32_t groups, int32_t *sums)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    for (; groups > 0; groups--, column += 16, w += 64) {
        const int8x16_t x = vldrbq_s8(column);
        a0 = vmladavaq_s8(a0, x, vldrbq_s8(w));
        a1 = vmladavaq_s8(a1, x, vldrbq_s8(w + 16));
        a2 = vmladavaq_s8(a2, x, vldrbq_s8(w + 32));
        a3 = vmladavaq_s8(a3, x, vldrbq_s8(w + 48));
    }
    sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3;
    return w;
}

/* The assembly takes registers that unoptimised code keeps for itself, and names that only gcc knows. */
#if defined(__OPTIMIZE__) && !defined(__clang__)
/* Four channels of two columns: sums, bias, and the reference's rescaling. The accumulator of VMLADAVA is an even
   register: all eight of them are taken, so that no low-overhead loop (which needs lr) is possible. Per four channels
   the stream holds the weights, then bias, multiplier and shift of each channel. Returns where the next four begin. */
MG_INLINE const int8_t *mg_block_mve(const int8_t *w, const int8_t *column, const int8_t *second, int32_t groups,
                                     int32x4_t *result, int32x4_t *other)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    int32x4_t x, y;
    __asm__ volatile("1:\n\t"
                     "vldrb.8 q0, [%[x]], #16\n\t"
                     "vldrb.8 q1, [%[w]], #16\n\t"
                     "vmladava.s8 %[a0], q0, q1\n\t"
                     "vldrb.8 q2, [%[y]], #16\n\t"
                     "vmladava.s8 %[b0], q2, q1\n\t"
                     "vldrb.8 q3, [%[w]], #16\n\t"
                     "vmladava.s8 %[a1], q0, q3\n\t"
                     "vmladava.s8 %[b1], q2, q3\n\t"
                     "vldrb.8 q1, [%[w]], #16\n\t"
                     "vmladava.s8 %[a2], q0, q1\n\t"
                     "vmladava.s8 %[b2], q2, q1\n\t"
                     "vldrb.8 q3, [%[w]], #16\n\t"
                     "vmladava.s8 %[a3], q0, q3\n\t"
                     "subs %[n], %[n], #1\n\t"
                     "vmladava.s8 %[b3], q2, q3\n\t"
                     "bne 1b\n\t"
                     "vldrw.32 q2, [%[w]], #16\n\t"
                     "vmov d0, %[a0], %[a1]\n\t"
                     "vmov d1, %[a2], %[a3]\n\t"
                     "vadd.i32 q0, q0, q2\n\t"
                     "vmov d2, %[b0], %[b1]\n\t"
                     "vmov d3, %[b2], %[b3]\n\t"
                     "vadd.i32 q1, q1, q2\n\t"
                     "vldrw.32 q2, [%[w]], #16\n\t"
                     "vqrdmulh.s32 %q[result], q0, q2\n\t"
                     "vqrdmulh.s32 %q[other], q1, q2\n\t"
                     "vldrw.32 q2, [%[w]], #16\n\t"
                     "vand q0, %q[result], q2\n\t"
                     "vand q1, %q[other], q2\n\t"
                     "vshr.s32 q0, q0, #31\n\t"
                     "vshr.s32 q1, q1, #31\n\t"
                     "vqadd.s32 %q[result], %q[result], q0\n\t"
                     "vqadd.s32 %q[other], %q[other], q1\n\t"
                     "vrshl.s32 %q[result], %q[result], q2\n\t"
                     "vrshl.s32 %q[other], %q[other], q2"
                     : [a0] "+Te"(a0), [a1] "+Te"(a1), [a2] "+Te"(a2), [a3] "+Te"(a3), [b0] "+Te"(b0), [b1] "+Te"(b1),
                       [b2] "+Te"(b2), [b3] "+Te"(b3), [w] "+r"(w), [x] "+r"(column), [y] "+r"(second),
                       [n] "+r"(groups), [result] "=&w"(x), [other] "=&w"(y)
                     :
                     : "q0", "q1", "q2", "q3", "cc", "memory");
    *result = x;
    *other = y;
    return w;
}
#else
MG_INLINE const int8_t *mg_block_mve(const int8_t *w, const int8_t *column, const int8_t *second, int32_t groups,
                                     int32x4_t *result, int32x4_t *other)
{
    int32_t sums[4], others[4];
    mg_sum_mve(w, second, groups, others);
    w = mg_sum_mve(w, column, groups, sums);
    const int32_t *const scales = (const int32_t *)(const void *)w;
    const int32x4_t bias = vldrwq_s32(scales), multiplier = vldrwq_s32(scales + 4), shift = vldrwq_s32(scales + 8);
    *result = mg_rescale_mve(vaddq_s32(vldrwq_s32(sums), bias), multiplier, shift);
    *other = mg_rescale_mve(vaddq_s32(vldrwq_s32(others), bias), multiplier, shift);
    return w + 48;
}
#endif

MG_INLINE int32x4_t mg_limited_mve(int32x4_t scaled, int32_t zero_point, int32x4_t low, int32x4_t high)
{
    return vminq_s32(vmaxq_s32(vaddq_n_s32(scaled, zero_point), low), high);
}

MG_KERNEL void mg_pixels_mve(const int8_t *column, const int8_t *w, int8_t *out, const mg_mve_layer *of)
{
    const int32x4_t low = vdupq_n_s32(of->low), high = vdupq_n_s32(of->high);
    const int32_t channels = of->channels, zero_point = of->zero_point;
    int32x4_t a, b;
    for (int32_t left = channels; left > 0; left -= 4, out += 4) {
        w = mg_block_mve(w, column, column + 16 * of->groups, of->groups, &a, &b);
        a = mg_limited_mve(a, zero_point, low, high);
        b = mg_limited_mve(b, zero_point, low, high);
        if (left >= 4) {
            vstrbq_s32(out, a);
            vstrbq_s32(out + channels, b);
        } else {
            const mve_pred16_t some = vctp32q((uint32_t)left);
            vstrbq_p_s32(out, a, some);
            vstrbq_p_s32(out + channels, b, some);
        }
    }
}

MG_KERNEL void mg_pixel_mve(const int8_t *column, const int8_t *w, int8_t *out, const mg_mve_layer *of)
{
    const int32x4_t low = vdupq_n_s32(of->low), high = vdupq_n_s32(of->high);
    int32_t sums[4];
    for (int32_t left = of->channels; left > 0; left -= 4, out += 4, w += 48) {
        w = mg_sum_mve(w, column, of->groups, sums);
        const int32_t *const scales = (const int32_t *)(const void *)w;
        const int32x4_t sum = vaddq_s32(vldrwq_s32(sums), vldrwq_s32(scales));
        const int32x4_t scaled = mg_rescale_mve(sum, vldrwq_s32(scales + 4), vldrwq_s32(scales + 8));
        vstrbq_p_s32(out, mg_limited_mve(scaled, of->zero_point, low, high), vctp32q((uint32_t)left));
    }
}

/* Output pixels first to last - 1. What lies behind a column's last tap meets weights of zero. */
MG_INLINE void mg_conv_mve(const mg_window s, const int8_t *in, int8_t *out, const void *stream, int8_t *column,
                           int32_t first, int32_t last, mg_mve_layer of)
{
    int32_t y = first / s.out_w, x = first % s.out_w;
    for (int32_t pixel = first; pixel < last; pixel += 2) {
        const int32_t count = pixel + 1 < last ? 2 : 1;
        for (int32_t i = 0; i < count; i++) {
            mg_gather(s, in, y, x, column + 16 * of.groups * i);
            if (++x == s.out_w) {
                x = 0;
                y++;
            }
        }
        if (count == 2)
            mg_pixels_mve(column, stream, out, &of);
        else
            mg_pixel_mve(column, stream, out, &of);
        out += 2 * s.out_c;
    }
}

#endif
