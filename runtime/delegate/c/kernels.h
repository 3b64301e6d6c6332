/* What differs from processor to processor. A word holds 32 channels, bit 1 for -1, the first channel lowest. */
#ifndef MULTIGRAFT_KERNELS_H
#define MULTIGRAFT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { MOST_PIXELS = 8, MOST_BLOCK = 128 };

/* Pixels, what is seen from each, and the weights of a block of output channels. */
typedef struct Patch {
    const uint8_t *const *pixels; /* their first words; up to the next multiple of Kernels.pixels all can be read */
    int count;
    ptrdiff_t ahead;              /* bytes from one to the next of the same row */
    const int32_t *places;        /* [k]: bytes from there to each word of the window, ascending */
    int k;
    const void *weights;
    int used;                     /* output channels of the block that are asked for */
} Patch;

/* What becomes of counts. A pixel's values begin `kinds[pixel]` behind `offsets`, or behind `limits`. */
typedef struct Epilogue {
    const int32_t *kinds, *offsets;
    int32_t least, most;
    const float *multiplier, *bias;
} Epilogue;

typedef struct Kernels {
    const char *name;
    int pixels;        /* of a tile */
    int block;         /* output channels that are worked on at once, a multiple of 32 and at most MOST_BLOCK */
    int word_bytes;    /* that a pixel's word takes: 4, or what `spread` makes of it */
    int weight_bytes;  /* that a block's weights take, per word of a window */
    /* What becomes of n words, each together with the one that lies `ahead` words behind it; NULL where words stay as they are.
     * Zeros stay zeros. */
    void (*spread)(const uint32_t *words, size_t n, size_t ahead, uint8_t *to);
    /* filter is [block][k] words; a channel that is not there has zeros. */
    void (*lay)(const uint32_t *filter, int k, void *weights);
    /* counts[m * block + o] = sum over i of popcount(pixel m's word at places[i] ^ word i of channel o), for all pixels up to
     * the next multiple of `pixels` and o < used; the other o are undefined. */
    void (*sums)(const Patch *patch, int32_t *counts);
    /* Bit o of the words at to + m * stride is 1 where the count is above limits[kinds[m] + o]; one word per 32 of used. */
    void (*bits)(const Patch *patch, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride);
    /* y[m * stride + o] = clamp(2 * counts[m * block + o] + offset, least, most) * multiplier[o] + bias[o], o < used */
    void (*to_float)(const int32_t *counts, int count, int used, const Epilogue *epilogue, float *y, size_t stride);
    /* the same, rounded half away from zero and saturated */
    void (*to_int8)(const int32_t *counts, int count, int used, const Epilogue *epilogue, int8_t *y, size_t stride);
    /* Bit i of the words is x[i] < 0, or x[i] < zero_point; bits beyond n are 0. */
    void (*pack_float)(const float *x, size_t n, uint32_t *words);
    void (*pack_int8)(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words);
} Kernels;

extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels, avx512_kernels;
#elif defined(__aarch64__) || defined(MULTIGRAFT_NEON) /* 32-bit Arm, with kernels_neon.c compiled for it (setup.py) */
extern const Kernels neon_kernels;
#endif

/* The i-th of those that this processor runs, best first; NULL behind the last. */
const Kernels *available_kernels(int i);

#endif
