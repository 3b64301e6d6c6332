/* What most kernels share: loops that the compiler vectorises for whatever processor the including file is built for.
 * No guard, static. */

#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define SHARED __attribute__((unused)) static

SHARED int32_t clamped(int32_t x, int32_t least, int32_t most) {
    x = x < most ? x : most;
    return x > least ? x : least;
}

SHARED int8_t rounded(float r) {
    r = r > -128.0f ? r : -128.0f; /* NaN ends here, too */
    r = r < 127.0f ? r : 127.0f;
    const int32_t whole = (int32_t)r;
    const float rest = r - (float)whole; /* exact, as is twice of it: 1 and more is a half and more */
    return (int8_t)(whole + (int32_t)(rest + rest));
}

SHARED void floats_of(const int32_t *restrict x, const int32_t *restrict offset, int n, int32_t least, int32_t most,
                      const float *restrict multiplier, const float *restrict bias, float *restrict y) {
    for (int i = 0; i < n; i++) y[i] = (float)clamped(2 * x[i] + offset[i], least, most) * multiplier[i] + bias[i];
}

SHARED void int8_of(const int32_t *restrict x, const int32_t *restrict offset, int n, int32_t least, int32_t most,
                    const float *restrict multiplier, const float *restrict bias, int8_t *restrict y) {
    for (int i = 0; i < n; i++)
        y[i] = rounded((float)clamped(2 * x[i] + offset[i], least, most) * multiplier[i] + bias[i]);
}

SHARED void to_float_in_blocks(int block, const int32_t *counts, int count, int used, const Epilogue *e, float *y,
                               size_t stride) {
    for (int m = 0; m < count; m++)
        floats_of(counts + (size_t)m * (size_t)block, e->offsets + e->kinds[m], used, e->least, e->most, e->multiplier,
                  e->bias, y + (size_t)m * stride);
}

SHARED void to_int8_in_blocks(int block, const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y,
                              size_t stride) {
    for (int m = 0; m < count; m++)
        int8_of(counts + (size_t)m * (size_t)block, e->offsets + e->kinds[m], used, e->least, e->most, e->multiplier,
                e->bias, y + (size_t)m * stride);
}

/* A block's weights with the words of `strip` channels side by side: [block / strip][k][strip]. */
SHARED void lay_strips(const uint32_t *filter, int k, int block, int strip, uint32_t *to) {
    for (int first = 0; first < block; first += strip)
        for (int i = 0; i < k; i++)
            for (int o = first; o < first + strip; o++) *to++ = filter[(size_t)o * (size_t)k + (size_t)i];
}
