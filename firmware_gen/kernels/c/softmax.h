/* SOFTMAX over int8: gemmlowp's fixed-point arithmetic, its exp taken from a table. */
#ifndef MG_SOFTMAX_H
#define MG_SOFTMAX_H

#include "mg_common.h"

/* 1 / (1 + a) in Q0.31 for a in [0, 1): Newton's method as in gemmlowp, three steps. */
MG_INLINE int32_t mg_reciprocal(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + mg_doubling_high(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - mg_doubling_high(half, x);
        x += mg_doubling_high(x, error) * 4;
    }
    return x > INT32_MAX / 2 ? INT32_MAX : x * 2;
}

MG_KERNEL void mg_softmax(const int8_t *in, int8_t *out, int32_t rows, int32_t depth, const int32_t *table,
                          int32_t entries)
{
    for (; rows > 0; rows--, in += depth, out += depth) {
        int32_t most = -128;
        for (int32_t i = 0; i < depth; i++)
            most = mg_max(most, in[i]);
        uint32_t sum = 0;
        for (int32_t i = 0; i < depth; i++)
            if (most - in[i] < entries)
                sum += (uint32_t)mg_rounding_shift(table[most - in[i]], 12);
        int32_t lead = 0;
        while (!((sum << lead) & 0x80000000u))
            lead++;
        const int32_t scale = mg_reciprocal((int32_t)((sum << lead) & 0x7fffffffu));
        for (int32_t i = 0; i < depth; i++) {
            const int32_t distance = most - in[i];
            int32_t value = -128;
            if (distance < entries)
                value += mg_rounding_shift(mg_doubling_high(scale, table[distance]), 35 - lead);
            out[i] = mg_clamp(value, -128, 127);
        }
    }
}

#endif
