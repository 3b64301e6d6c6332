/* Loops that the compiler vectorises for whatever processor the including file is built for: no guard, static. */

#include <stdint.h>

static void to_float(const int32_t *restrict x, int shift, int n, int32_t least, int32_t most,
                     const float *restrict multiplier, const float *restrict bias, float *restrict y) {
    for (int i = 0; i < n; i++) {
        int32_t v = x[i] << shift;
        v = v < most ? v : most;
        v = v > least ? v : least;
        y[i] = (float)v * multiplier[i] + bias[i];
    }
}

__attribute__((unused)) static void to_int8(const int32_t *restrict x, int shift, int n, int32_t least, int32_t most,
                    const float *restrict multiplier, const float *restrict bias, int8_t *restrict y) {
    for (int i = 0; i < n; i++) {
        int32_t v = x[i] << shift;
        v = v < most ? v : most;
        v = v > least ? v : least;
        float r = (float)v * multiplier[i] + bias[i];
        r = r > -128.0f ? r : -128.0f; /* NaN ends here, too */
        r = r < 127.0f ? r : 127.0f;
        const int32_t whole = (int32_t)r;
        const float rest = r - (float)whole; /* exact, as is twice of it: 1 and more is a half and more */
        y[i] = (int8_t)(whole + (int32_t)(rest + rest));
    }
}
