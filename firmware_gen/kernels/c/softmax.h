/* SOFTMAX over int8: gemmlowp's fixed-point arithmetic, its exp taken from a table or, for few values, computed. */
#ifndef MG_SOFTMAX_H
#define MG_SOFTMAX_H

#include "mg_common.h"

/* Many times in what follows. */
MG_KERNEL int32_t mg_high_of(int32_t a, int32_t b) { return mg_doubling_high(a, b); }

/* 1 / (1 + a) in Q0.31 for a in [0, 1): Newton's method as in gemmlowp, three steps. */
MG_INLINE int32_t mg_reciprocal(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + mg_high_of(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - mg_high_of(half, x);
        x += mg_high_of(x, error) * 4;
    }
    return x > INT32_MAX / 2 ? INT32_MAX : x * 2;
}

/* exp of minus so many input steps, of which one is multiplier * 2^(left - 31) in Q5.26, in Q0.31. */
MG_KERNEL int32_t mg_exp(int32_t distance, int32_t multiplier, int32_t left)
{
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t a = mg_high_of((int32_t)((uint32_t)-distance << left), multiplier), quarter = 1 << 24;
    const int32_t reduced = (a & (quarter - 1)) - quarter, remainder = reduced - a;
    /* From -1/4 to 0 by its series around -1/8. */
    const int32_t x = reduced * 32 + (1 << 28), square = mg_high_of(x, x);
    /* Neither what is shifted nor a quarter of it is negative. */
    const int32_t fourth = (mg_high_of(square, square) + 2) >> 2;
    const int32_t third = mg_high_of(fourth + mg_high_of(square, x), 715827883) + square;
    int32_t result = 1895147668;
    result += mg_high_of(result, x + mg_rounding_shift(third, 1));
    for (int32_t i = 0; i < 7; i++)
        if (remainder >> (24 + i) & 1)
            result = mg_high_of(result, factors[i]);
    return a == 0 ? INT32_MAX : result;
}

/* exp of a number of entries is in the table, or computed. */
MG_INLINE void mg_softmax_by(const int8_t *in, int8_t *out, int32_t rows, int32_t depth, int32_t entries,
                             const int32_t *table, int32_t computed, int32_t multiplier, int32_t left)
{
    for (; rows > 0; rows--, in += depth, out += depth) {
        int32_t most = -128;
        for (int32_t i = 0; i < depth; i++)
            most = mg_max(most, in[i]);
        uint32_t sum = 0;
        for (int32_t i = 0; i < depth; i++)
            if (most - in[i] < entries)
                /* Rounded to the nearest; it is not negative. */
                sum += ((uint32_t)(computed ? mg_exp(most - in[i], multiplier, left) : table[most - in[i]]) + 2048) >> 12;
        int32_t lead = 0;
        while (!((sum << lead) & 0x80000000u))
            lead++;
        const int32_t scale = mg_reciprocal((int32_t)((sum << lead) & 0x7fffffffu));
        for (int32_t i = 0; i < depth; i++) {
            const int32_t distance = most - in[i];
            int32_t value = -128;
            if (distance < entries) {
                const int32_t e = computed ? mg_exp(distance, multiplier, left) : table[distance];
                value += mg_rounding_shift(mg_doubling_high(scale, e), 35 - lead);
            }
            out[i] = mg_clamp(value, -128, 127);
        }
    }
}

MG_KERNEL void mg_softmax(const int8_t *in, int8_t *out, int32_t rows, int32_t depth, const int32_t *table,
                          int32_t entries)
{
    mg_softmax_by(in, out, rows, depth, entries, table, 0, 0, 0);
}

MG_KERNEL void mg_softmax_few(const int8_t *in, int8_t *out, int32_t rows, int32_t depth, int32_t entries,
                              int32_t multiplier, int32_t left)
{
    mg_softmax_by(in, out, rows, depth, entries, NULL, 1, multiplier, left);
}

#endif
