/* LSTM with int8 inputs, outputs and weights, and int16 cells: gemmlowp's arithmetic in 16 bits. */
#ifndef MG_LSTM_H
#define MG_LSTM_H

#include "mg_common.h"
#include "mg_dot.h"

typedef struct {
    int32_t steps, inputs, cells;
    int32_t input_gate; /* 0: it is 1 less the forget gate */
    int32_t exponent;   /* of the cells' scale */
    int32_t limit;      /* the greatest cell; 0: none */
    int32_t multiplier, shift, zero_point;
} mg_lstm_sizes;

MG_INLINE int32_t mg_saturate16(int32_t x) { return mg_max(mg_min(x, INT16_MAX), INT16_MIN); }

/* a * b / 2^15 of int16, as C divides. */
MG_INLINE int32_t mg_product16(int32_t a, int32_t b)
{
    const int32_t product = a * b;
    return product == 1 << 30 ? INT16_MAX : (product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15);
}

/* exp of a, which is not positive and has so many integer bits, in Q0.15. */
MG_KERNEL int32_t mg_exp16(int32_t a, int32_t integer_bits)
{
    static const int16_t factors[7] = {25520, 19875, 12055, 4435, 600, 11, 0};
    const int32_t fraction = 15 - integer_bits, quarter = 1 << (fraction - 2);
    if (a == 0)
        return INT16_MAX;
    if (integer_bits > 5 && a < -(1 << (fraction + 5)))
        return 0;
    const int32_t reduced = (a & (quarter - 1)) - quarter;
    const int32_t x = mg_saturate16(reduced * (1 << integer_bits)) + (1 << 12);
    const int32_t x2 = mg_product16(x, x), x3 = mg_product16(x2, x);
    const int32_t fourth = mg_rounding_shift(mg_product16(x2, x2), 2);
    const int32_t rest = mg_rounding_shift(mg_product16(fourth + x3, 10923) + x2, 1);
    int32_t result = mg_saturate16(28918 + mg_product16(x + rest, 28918));
    const int32_t remainder = reduced - a;
    for (int32_t exponent = -2; exponent < 5 && integer_bits > exponent; exponent++)
        if (remainder & (1 << (fraction + exponent)))
            result = mg_product16(result, factors[exponent + 2]);
    return result;
}

/* Newton's method for 1 / (1 + e), e in Q0.15, as Q2.13 of the reciprocal of its half. */
MG_INLINE int32_t mg_reciprocal16(int32_t e)
{
    const int32_t half = (e + INT16_MAX + 1) / 2;
    int32_t x = 23130 + mg_product16(half, -15420);
    for (int32_t i = 0; i < 3; i++)
        x += mg_saturate16(mg_product16(x, (1 << 13) - mg_product16(half, x)) * 4);
    return x;
}

/* Of Q3.12, in Q0.15. */
MG_INLINE int32_t mg_sigmoid16(int32_t a)
{
    const int32_t positive = mg_saturate16(mg_reciprocal16(mg_exp16(a > 0 ? -a : a, 3)) * 2);
    return a == 0 ? 1 << 14 : a > 0 ? positive : INT16_MAX - positive;
}

MG_INLINE int32_t mg_tanh16(int32_t a, int32_t integer_bits)
{
    const int32_t e = mg_exp16(a > 0 ? -a : a, integer_bits + 1);
    const int32_t positive = mg_saturate16((mg_reciprocal16(e) - (1 << 13)) * 4);
    return a == 0 ? 0 : a > 0 ? positive : -positive;
}

/* biases, weights: of the input, then of the state. */
MG_KERNEL void mg_lstm_gate(const int8_t *x, const int8_t *h, const mg_lstm_sizes *by, const int32_t *biases,
                            const int8_t *weights, const int32_t *scales, int32_t is_tanh, mg_half *gate)
{
    const int8_t *of_state = weights + by->cells * by->inputs;
    for (int32_t i = 0; i < by->cells; i++) {
        int32_t sum = mg_dot(x, weights + i * by->inputs, by->inputs) + biases[i];
        const int32_t first = mg_saturate16(mg_rescale(sum, scales[0], scales[1]));
        sum = mg_dot(h, of_state + i * by->cells, by->cells) + biases[by->cells + i];
        sum = mg_saturate16(mg_rescale(sum, scales[2], scales[3]) + first);
        gate[i] = (int16_t)(is_tanh ? mg_tanh16(sum, 3) : mg_sigmoid16(sum));
    }
}

/* constants: biases of each gate, then weights of each; scratch: a row of int16 for each of four gates. */
MG_KERNEL void mg_lstm(const int8_t *in, int8_t *out, int8_t *state, void *cell_state, const void *constants,
                       const int32_t *scales, void *scratch, const mg_lstm_sizes *by)
{
    const int32_t n = by->cells, gates = 3 + by->input_gate;
    const int8_t *const weights = (const int8_t *)constants + gates * n * 8;
    mg_half *const cells = (mg_half *)cell_state;
    mg_half *const rows = (mg_half *)scratch; /* input, forget, cell, output */
    for (int32_t step = 0; step < by->steps; step++, in += by->inputs, out += n) {
        for (int32_t k = 0; k < gates; k++) {
            const int32_t row = k + 4 - gates;
            mg_lstm_gate(in, state, by, (const int32_t *)constants + k * n * 2, weights + k * n * (by->inputs + n),
                         scales + k * 4, row == 2, rows + row * n);
        }
        for (int32_t i = 0; i < n; i++) {
            const int32_t forget = rows[n + i], opened = by->input_gate ? rows[i] : INT16_MAX - forget;
            int32_t cell = mg_rounding_shift(forget * cells[i], 15);
            cell = mg_saturate16(cell + mg_rounding_shift(opened * rows[2 * n + i], 30 + by->exponent));
            if (by->limit)
                cell = mg_max(mg_min(cell, by->limit), -by->limit);
            cells[i] = (int16_t)cell;
            const int32_t shown = rows[3 * n + i] * mg_tanh16(cell, 15 + by->exponent);
            state[i] = mg_clamp(mg_rescale(shown, by->multiplier, by->shift) + by->zero_point, -128, 127);
        }
        mg_copy(out, state, n);
    }
}

#endif
