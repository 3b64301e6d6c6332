/* Sums of products of two rows of int8, of which there are at most 2^15. */
#ifndef MG_DOT_H
#define MG_DOT_H

#include "mg_common.h"

MG_INLINE int32_t mg_dot(const int8_t *a, const int8_t *b, int32_t n)
{
    int32_t sum = 0;
#if defined(__ARM_FEATURE_MVE)
    for (; n > 0; n -= 16, a += 16, b += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)n);
        sum = vmladavaq_p_s8(sum, vldrbq_z_s8(a, some), vldrbq_z_s8(b, some), some);
    }
#else
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
    for (; n >= 4; n -= 4, a += 4, b += 4) {
        const uint32_t x = mg_load(a), y = mg_load(b);
        sum = __smlad(__sxtb16(x), __sxtb16(y), sum);
        sum = __smlad(__sxtb16((x >> 8) | (x << 24)), __sxtb16((y >> 8) | (y << 24)), sum);
    }
#endif
    for (int32_t i = 0; i < n; i++)
        sum += a[i] * b[i];
#endif
    return sum;
}

#endif
