#include "kernels.h"

#include "epilogue.h"

enum { BLOCK = 32, STRIP = 8 };

static inline uint32_t popcount(uint32_t x) {
    x -= (x >> 1) & 0x55555555u;
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (x * 0x01010101u) >> 24;
}

static void lay(const uint32_t *filter, int k, void *weights) { lay_strips(filter, k, BLOCK, STRIP, weights); }

static void sums_of_pixel(const uint8_t *pixel, const Patch *w, int32_t *counts) {
    for (int first = 0; first < w->used; first += STRIP) {
        const uint32_t *weights = (const uint32_t *)w->weights + (size_t)first * (size_t)w->k;
        int32_t sums[STRIP] = {0};
        for (int i = 0; i < w->k; i++, weights += STRIP) {
            uint32_t x;
            memcpy(&x, pixel + w->places[i], 4);
            for (int o = 0; o < STRIP; o++) sums[o] += (int32_t)popcount(x ^ weights[o]);
        }
        memcpy(counts + first, sums, sizeof sums);
    }
}

static void sums(const Patch *w, int32_t *counts) {
    for (int m = 0; m < w->count; m++) sums_of_pixel(w->pixels[m], w, counts + (size_t)m * BLOCK);
}

static void bits(const Patch *w, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride) {
    for (int m = 0; m < w->count; m++) {
        int32_t counts[BLOCK];
        uint32_t word = 0;
        sums_of_pixel(w->pixels[m], w, counts);
        for (int o = 0; o < w->used; o++) word |= (uint32_t)(counts[o] > limits[kinds[m] + o]) << o;
        to[(size_t)m * stride] = word;
    }
}

static void to_float(const int32_t *counts, int count, int used, const Epilogue *e, float *y, size_t stride) {
    to_float_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

static void to_int8(const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y, size_t stride) {
    to_int8_in_blocks(BLOCK, counts, count, used, e, y, stride);
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

const Kernels portable_kernels = {.name = "portable",
                                  .pixels = 1,
                                  .block = BLOCK,
                                  .word_bytes = 4,
                                  .weight_bytes = 4 * BLOCK,
                                  .lay = lay,
                                  .sums = sums,
                                  .bits = bits,
                                  .to_float = to_float,
                                  .to_int8 = to_int8,
                                  .pack_float = pack_float,
                                  .pack_int8 = pack_int8};
