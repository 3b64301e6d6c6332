#include "kernels.h"

#include "epilogue.h"

enum { PIXELS = 2, BLOCK = 8 };

static inline uint32_t popcount(uint32_t x) {
    x -= (x >> 1) & 0x55555555u;
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (x * 0x01010101u) >> 24;
}

static void tile(const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, int used,
                 int32_t *counts, size_t stride) {
    for (int m = 0; m < PIXELS; m++) {
        int32_t sums[BLOCK] = {0};
        for (int i = 0; i < k; i++) {
            uint32_t x = pixels[m][places[i]];
            const uint32_t *w = weights + (size_t)i * BLOCK;
            for (int o = 0; o < BLOCK; o++) sums[o] += (int32_t)popcount(x ^ w[o]);
        }
        for (int o = 0; o < used; o++) counts[(size_t)m * stride + (size_t)o] = sums[o];
    }
}

static void compare(const int32_t *x, const int32_t *limits, int n, uint32_t *words) {
    for (int i = 0; i < n; i += 32) {
        uint32_t word = 0;
        for (int j = 0; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] > limits[i + j]) << j;
        words[i / 32] = word;
    }
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        for (size_t j = 0; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] < 0.0f) << j;
        words[i / 32] = word;
    }
}

static void pack_int8(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        for (size_t j = 0; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] < zero_point) << j;
        words[i / 32] = word;
    }
}

const Kernels portable_kernels = {"portable", PIXELS,  BLOCK,   1,          tile,
                                  compare,    to_float, to_int8, pack_float, pack_int8};
