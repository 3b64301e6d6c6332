/* What differs from processor to processor. A word holds 32 channels, bit 1 for -1, the first channel lowest. */
#ifndef MULTIGRAFT_KERNELS_H
#define MULTIGRAFT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_PIXELS = 8, MOST_BLOCK = 32 };

typedef struct Kernels {
    const char *name;
    int pixels;  /* of a tile */
    int block;   /* output channels whose words lie side by side in the packed weights */
    int lanes;   /* of a vector; divides block */
    /* counts[m * stride + o] = sum over k of popcount(pixels[m][places[k]] ^ weights[k * block + o]) for `pixels` pixels
     * and o < used, which is a multiple of lanes and at most block. */
    void (*tile)(const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, int used,
                 int32_t *counts, size_t stride);
    /* Bit i of the words is x[i] > limits[i]; bits beyond n are 0. */
    void (*compare)(const int32_t *x, const int32_t *limits, int n, uint32_t *words);
    /* clamp(x << shift) * multiplier + bias in float32 */
    void (*to_float)(const int32_t *x, int shift, int n, int32_t least, int32_t most, const float *multiplier,
                     const float *bias, float *y);
    /* the same, rounded half away from zero and saturated */
    void (*to_int8)(const int32_t *x, int shift, int n, int32_t least, int32_t most, const float *multiplier,
                    const float *bias, int8_t *y);
    /* Bit i of the words is x[i] < 0, or x[i] < zero_point; bits beyond n are 0. */
    void (*pack_float)(const float *x, size_t n, uint32_t *words);
    void (*pack_int8)(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words);
} Kernels;

extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx512_kernels;
#elif defined(__ARM_NEON)
extern const Kernels neon_kernels;
#endif

/* The i-th of those that this processor runs, best first; NULL behind the last. */
const Kernels *available_kernels(int i);

#endif
