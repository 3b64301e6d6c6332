/* LOG_SOFTMAX over int8: gemmlowp's fixed-point arithmetic, its exp taken from a table. */
#ifndef MG_LOG_SOFTMAX_H
#define MG_LOG_SOFTMAX_H

#include "mg_common.h"
#include "mg_softmax.h"

MG_INLINE int32_t mg_leading_zeros(uint32_t x)
{
    int32_t lead = 0;
    for (; lead < 32 && !((x << lead) & 0x80000000u);)
        lead++;
    return lead;
}

MG_INLINE int32_t mg_saturate32(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* The logarithm of x, which is 1 or more in Q12.19, in Q5.26. */
MG_KERNEL int32_t mg_log(int32_t x)
{
    const int32_t root = 1805811301, one = 1 << 25, quarter = 1 << 23;
    const int32_t first = mg_leading_zeros((uint32_t)x);
    const int32_t second = mg_leading_zeros((uint32_t)mg_doubling_high(x, 1518500250)) - 1;
    const int32_t shifted = mg_saturate32((int64_t)x << (first - 1));
    const int32_t r_a = mg_saturate32((int64_t)mg_doubling_high(shifted, 1518500250) * 2);
    const int32_t r_b = mg_saturate32((int64_t)x << second);
    const int32_t power = mg_max((12 - first) * one + quarter, (12 - second) * one - quarter);
    const int32_t r = mg_min(r_a, r_b);
    const int64_t sum = (int64_t)r + root;
    const int32_t p = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2), q = (r - root) * 2;
    const int32_t square = mg_doubling_high(q, q);
    const int32_t above = mg_doubling_high(q, r) + mg_doubling_high(mg_doubling_high(q, square), 117049297);
    const int32_t below = mg_doubling_high(p, 1057819769 + q + mg_doubling_high(square, 127690142)) +
                          mg_doubling_high(q, 638450708);
    const int32_t quotient = mg_doubling_high(mg_rounding_shift(above, 6), mg_reciprocal(below));
    return mg_saturate32(((int64_t)mg_doubling_high(power, 1488522236) + quotient) * 2);
}

/* steps: minus 0, 1, … of the input in Q5.26; table: exp of these in Q12.19. */
MG_KERNEL void mg_log_softmax(const int8_t *in, int8_t *out, int32_t rows, int32_t depth, const int32_t *steps,
                              const int32_t *table, int32_t entries, int32_t least, int32_t back, int32_t shift)
{
    for (; rows > 0; rows--, in += depth, out += depth) {
        int32_t most = -128, sum = 0;
        for (int32_t i = 0; i < depth; i++)
            most = mg_max(most, in[i]);
        for (int32_t i = 0; i < depth; i++)
            if (most - in[i] < entries)
                sum += table[most - in[i]];
        const int32_t logarithm = mg_log(sum);
        const int32_t furthest = mg_max(-least - 1, mg_rescale(logarithm + INT32_MIN, back, shift));
        for (int32_t i = 0; i < depth; i++) {
            const int32_t distance = most - in[i];
            int32_t value = -128;
            if (distance < entries && -distance > furthest)
                value = mg_rounding_shift(mg_saturate32((int64_t)steps[distance] - logarithm), 22) + 127;
            out[i] = mg_clamp(value, -128, 127);
        }
    }
}

#endif
