/* SVDF: features of a row, remembered for some times and weighted over them. */
#ifndef MG_SVDF_H
#define MG_SVDF_H

#include "mg_common.h"
#include "mg_dot.h"

typedef struct {
    int32_t inputs, units, rank, times;
    int32_t feature_multiplier, feature_shift, multiplier, shift;
    int32_t state_zero_point, zero_point;
} mg_svdf_sizes;

/* constants: int32 for each filter what its zero points add, int32 for each unit its bias, weights of the times, weights
   of the features. The state moves as a whole, so that what falls out of a filter's oldest place is never read. */
#define MG_SVDF(type, least, greatest)                                                                                \
    MG_KERNEL void mg_svdf_##type(const int8_t *in, int8_t *out, int8_t *state, const void *constants,                \
                                  const mg_svdf_sizes *by)                                                            \
    {                                                                                                                 \
        typedef type __attribute__((may_alias)) element;                                                              \
        const int32_t filters = by->units * by->rank;                                                                 \
        const int32_t *const added = (const int32_t *)constants, *const biases = added + filters;                     \
        const element *weights = (const element *)(const void *)(biases + by->units);                                 \
        const int8_t *features = (const int8_t *)(weights + filters * by->times);                                     \
        element *row = (element *)(void *)state;                                                                      \
        for (int32_t unit = 0; unit < by->units; unit++) {                                                            \
            int32_t sum = biases[unit];                                                                               \
            for (int32_t k = 0; k < by->rank; k++, row += by->times, weights += by->times, features += by->inputs) { \
                const int32_t found = mg_dot(in, features, by->inputs) + added[unit * by->rank + k];                  \
                const int32_t kept = mg_rescale(found, by->feature_multiplier, by->feature_shift);                    \
                for (int32_t i = 1; i < by->times; i++)                                                               \
                    row[i - 1] = row[i];                                                                              \
                row[by->times - 1] = (type)(mg_max(mg_min(kept, greatest), least) + by->state_zero_point);            \
                for (int32_t i = 0; i < by->times; i++)                                                               \
                    sum += weights[i] * (row[i] - by->state_zero_point);                                              \
            }                                                                                                         \
            out[unit] = mg_clamp(mg_rescale(sum, by->multiplier, by->shift) + by->zero_point, -128, 127);             \
        }                                                                                                             \
    }

MG_SVDF(int8_t, INT8_MIN, INT8_MAX)
MG_SVDF(int16_t, INT16_MIN, INT16_MAX)

#endif
