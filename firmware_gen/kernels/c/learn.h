/* A dense layer that is solved anew on the board, from sums over frames whose class somebody said.

   Sums are whole numbers, so that no order of frames changes them. What they are solved by is double precision, one
   operation a call: with whatever flags a board's framework compiles, no two are rounded as one, and the weights are
   those of multigraft.firmware_gen.learning.learnt_layer bit for bit. */
#ifndef MG_LEARN_H
#define MG_LEARN_H

#include "mg_dot.h"

MG_KERNEL double mg_add64(double a, double b) { return a + b; }
MG_KERNEL double mg_sub64(double a, double b) { return a - b; }
MG_KERNEL double mg_mul64(double a, double b) { return a * b; }
MG_KERNEL double mg_div64(double a, double b) { return a / b; }

/* Doubles that lie where bytes do. */
typedef double __attribute__((may_alias)) mg_real64;

#define MG_LEARN_KEEP 0xffffu
#define MG_LEARN_RIDGE 0x1p-12 /* Of the mean square of a feature. */
#define MG_LEARN_NO_CLASS (-1)
#define MG_LEARN_NO_FRAME (-2)
#define MG_LEARN_FULL (-3)

/* Inputs of the layer less their zero point, and a 1 behind them: features + 1 numbers, whose products are held as the
   rows of a lower triangle. */
typedef struct {
    int32_t classes, before, features, zero_point, output_zero_point, low, high;
    int32_t most;             /* frames, so that no product's sum overflows */
    const int8_t *weights;    /* as generated, classes x features */
    const mg_exact *scales;   /* the same, biases being for raw inputs */
    const int32_t *targets;   /* what a class's sum is to be where it is the frame's, and where it is not, in turn */
    const double *reals;      /* by which a sum is scaled */
    const int32_t *known;     /* products over frames of classes known before; NULL for none */
    int32_t known_frames;
    int64_t *residues;        /* classes x (features + 1): features times what the class's sum lacks */
    int32_t *products;
    int32_t *counts;          /* frames of each class */
    int8_t *now;              /* the weights that answer */
    mg_exact *now_scales;
    int8_t *seen;             /* features of the last frame */
    int32_t is_seen;
    int32_t is_solved;        /* the weights that answer are none of those generated */
} mg_learner;

MG_INLINE int32_t mg_learn_triangle(int32_t row) { return row * (row + 1) / 2; }

MG_INLINE uint32_t mg_learn_frames(const mg_learner *s)
{
    return (uint32_t)s->products[mg_learn_triangle(s->features + 1) - 1];
}

MG_KERNEL void mg_learn_forget_weights(mg_learner *s)
{
    s->is_solved = 0;
    memcpy(s->now, s->weights, (size_t)(s->classes * s->features));
    memcpy(s->now_scales, s->scales, (size_t)s->classes * sizeof *s->scales);
}

MG_KERNEL void mg_learn_begin(mg_learner *s)
{
    const int32_t n = s->features + 1;
    mg_learn_forget_weights(s);
    memset(s->residues, 0, (size_t)(s->classes * n) * sizeof *s->residues);
    memset(s->products, 0, (size_t)mg_learn_triangle(n) * sizeof *s->products);
    memset(s->counts, 0, (size_t)s->classes * sizeof *s->counts);
    s->is_seen = 0;
}

MG_KERNEL void mg_learn_run(mg_learner *s, const int8_t *in, int8_t *out)
{
    memcpy(s->seen, in, (size_t)s->features);
    s->is_seen = 1;
    for (int32_t c = 0; c < s->classes; c++)
        out[c] = mg_scaled(mg_dot(s->seen, s->now + c * s->features, s->features), s->now_scales, c, 1,
                           s->output_zero_point, s->low, s->high);
}

/* Adds the last frame that was answered; 0, or why not. */
MG_KERNEL int32_t mg_learn_add(mg_learner *s, uint32_t label)
{
    const int32_t n = s->features + 1;
    if (label != MG_LEARN_KEEP && label >= (uint32_t)s->classes)
        return MG_LEARN_NO_CLASS;
    if (!s->is_seen)
        return MG_LEARN_NO_FRAME;
    if (mg_learn_frames(s) >= (uint32_t)s->most)
        return MG_LEARN_FULL;
    s->is_seen = 0;
    /* Sums that were written from outside may be any: they wrap around. */
    uint32_t *to = (uint32_t *)s->products;
    for (int32_t i = 0; i < n; i++) {
        const int32_t a = i < s->features ? s->seen[i] - s->zero_point : 1;
        for (int32_t j = 0; j <= i; j++)
            *to++ += (uint32_t)(a * (j < s->features ? s->seen[j] - s->zero_point : 1));
    }
    if (label == MG_LEARN_KEEP)
        return 0;
    uint64_t *residue = (uint64_t *)s->residues;
    for (int32_t c = 0; c < s->classes; c++) {
        const int32_t given = mg_dot(s->seen, s->weights + c * s->features, s->features) + s->scales[c].bias;
        const int64_t lacks = (int64_t)s->targets[2 * c + (label != (uint32_t)c)] - given;
        for (int32_t j = 0; j < n; j++)
            *residue++ += (uint64_t)(lacks * (j < s->features ? s->seen[j] - s->zero_point : 1));
    }
    ((uint32_t *)s->counts)[label]++;
    return 0;
}

/* What frames of before weigh, so that each class of before weighs what a class does that was learnt. */
MG_INLINE double mg_learn_weight(const mg_learner *s)
{
    int64_t frames = 0;
    int32_t learnt = 0;
    for (int32_t c = 0; c < s->classes; c++) {
        frames += s->counts[c];
        learnt += s->counts[c] != 0;
    }
    return mg_div64((double)(frames * s->before), (double)((int64_t)learnt * s->known_frames));
}

/* L D L' in place, a row of the lower triangle behind the other; 0, or -1 where there is no such matrix. */
MG_KERNEL int32_t mg_learn_factor(mg_real64 *a, int32_t n)
{
    for (int32_t k = 0; k < n; k++) {
        const double pivot = a[mg_learn_triangle(k) + k];
        if (!(pivot > 0.0 && pivot < 0x1p+1000))
            return -1;
        /* From the last row on: those above still hold their column as it was. */
        for (int32_t i = n - 1; i > k; i--) {
            mg_real64 *const row = a + mg_learn_triangle(i);
            const double ratio = mg_div64(row[k], pivot);
            for (int32_t j = k + 1; j <= i; j++)
                row[j] = mg_sub64(row[j], mg_mul64(ratio, a[mg_learn_triangle(j) + k]));
            row[k] = ratio;
        }
    }
    return 0;
}

MG_KERNEL void mg_learn_substitute(const mg_real64 *a, mg_real64 *y, int32_t n)
{
    for (int32_t k = 0; k < n; k++)
        for (int32_t i = k + 1; i < n; i++)
            y[i] = mg_sub64(y[i], mg_mul64(a[mg_learn_triangle(i) + k], y[k]));
    for (int32_t k = 0; k < n; k++)
        y[k] = mg_div64(y[k], a[mg_learn_triangle(k) + k]);
    for (int32_t k = n - 1; k > 0; k--)
        for (int32_t i = 0; i < k; i++)
            y[i] = mg_sub64(y[i], mg_mul64(a[mg_learn_triangle(k) + i], y[k]));
}

/* To the nearest whole number, halves away from zero; x is within 2^31. */
MG_INLINE int32_t mg_learn_round(double x) { return (int32_t)(x < 0.0 ? mg_sub64(x, 0.5) : mg_add64(x, 0.5)); }

MG_INLINE double mg_learn_size(double x) { return x < 0.0 ? -x : x; }

/* As TensorFlow Lite's QuantizeMultiplier; 0, or -1 where the number is none that can be a scale. */
MG_INLINE int32_t mg_learn_multiplier(double real, mg_exact *to)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    int32_t shift = (int32_t)(bits >> 52) - 1022;
    uint64_t multiplier = (((bits & 0xfffffffffffffu) | 0x10000000000000u) + (1u << 21)) >> 22;
    if (multiplier == (uint64_t)1 << 31) {
        multiplier >>= 1;
        shift++;
    }
    if (shift > 30)
        return -1;
    to->multiplier = shift < -31 ? 0 : (int32_t)multiplier;
    to->shift = shift < -31 ? 0 : shift;
    return 0;
}

/* The class's weights and scale of what is to be added to those of before. */
MG_KERNEL int32_t mg_learn_class(const mg_learner *s, int32_t c, mg_real64 *y)
{
    const int8_t *const before = s->weights + c * s->features;
    int8_t *const now = s->now + c * s->features;
    int64_t offset = s->scales[c].bias;
    double unit = 0.0;
    for (int32_t j = 0; j < s->features; j++) {
        offset += (int64_t)before[j] * s->zero_point;
        y[j] = mg_add64((double)before[j], y[j]);
        if (!(mg_learn_size(y[j]) < 0x1p+60))
            return -1;
        unit = mg_learn_size(y[j]) > unit ? mg_learn_size(y[j]) : unit;
    }
    unit = mg_div64(unit, 127.0);
    const double bias = mg_add64((double)offset, y[s->features]);
    if (!(mg_learn_size(bias) < 0x1p+60))
        return -1;
    const double least = mg_mul64(mg_learn_size(bias), 0x1p-30);
    unit = least > unit ? least : unit;
    unit = unit < 0x1p-60 ? 1.0 : unit;
    mg_exact made;
    if (mg_learn_multiplier(mg_mul64(s->reals[c], unit), &made) != 0)
        return -1;
    int32_t sum = 0;
    for (int32_t j = 0; j < s->features; j++) {
        now[j] = (int8_t)mg_max(-127, mg_min(127, mg_learn_round(mg_div64(y[j], unit))));
        sum += now[j];
    }
    made.bias = mg_learn_round(mg_div64(bias, unit)) - s->zero_point * sum;
    s->now_scales[c] = made;
    return 0;
}

/* Solves the layer from the sums; 0, or -1 where nothing was learnt or the sums are none of frames, and the weights are
   then those of before. memory: (features + 1) * (features + 4) / 2 doubles and 8 bytes. */
MG_KERNEL int32_t mg_learn_solve(mg_learner *s, void *memory)
{
    const int32_t n = s->features + 1, size = mg_learn_triangle(n);
    mg_real64 *const a = (mg_real64 *)(((uintptr_t)memory + 7u) & ~(uintptr_t)7u);
    mg_real64 *const y = a + size;
    int64_t frames = 0;
    for (int32_t c = 0; c < s->classes; c++)
        frames += s->counts[c];
    int32_t status = frames > 0 ? 0 : -1;
    if (status == 0) {
        const double weight = s->known ? mg_learn_weight(s) : 0.0;
        for (int32_t i = 0; i < size; i++) {
            a[i] = (double)s->products[i];
            if (s->known)
                a[i] = mg_add64(a[i], mg_mul64(weight, (double)s->known[i]));
        }
        double ridge = 0.0;
        for (int32_t i = 0; i < s->features; i++)
            ridge = mg_add64(ridge, a[mg_learn_triangle(i) + i]);
        ridge = mg_mul64(mg_div64(ridge, (double)s->features), MG_LEARN_RIDGE);
        for (int32_t i = 0; i < n; i++)
            a[mg_learn_triangle(i) + i] =
                mg_add64(a[mg_learn_triangle(i) + i], i < s->features ? ridge : MG_LEARN_RIDGE);
        status = mg_learn_factor(a, n);
    }
    for (int32_t c = 0; status == 0 && c < s->classes; c++) {
        for (int32_t j = 0; j < n; j++)
            y[j] = (double)s->residues[c * n + j];
        mg_learn_substitute(a, y, n);
        status = mg_learn_class(s, c, y);
    }
    s->is_solved = 1;
    if (status != 0)
        mg_learn_forget_weights(s);
    return status;
}

#endif
