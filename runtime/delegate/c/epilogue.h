/* Loops that the compiler vectorises for whatever processor the including file is built for: no guard, static. */

#include <stdint.h>

static void to_float(const int32_t *restrict x, int n, int32_t least, int32_t most, const float *restrict multiplier,
                     const float *restrict bias, float *restrict y) {
    for (int i = 0; i < n; i++) {
        int32_t v = x[i] < most ? x[i] : most;
        v = v > least ? v : least;
        y[i] = (float)v * multiplier[i] + bias[i];
    }
}

static void to_int8(const int32_t *restrict x, int n, int32_t least, int32_t most, const float *restrict multiplier,
                    const float *restrict bias, int8_t *restrict y) {
    for (int i = 0; i < n; i++) {
        int32_t v = x[i] < most ? x[i] : most;
        v = v > least ? v : least;
        float r = (float)v * multiplier[i] + bias[i];
        r = r > -128.0f ? r : -128.0f; /* NaN ends here, too */
        r = r < 127.0f ? r : 127.0f;
        int32_t whole = (int32_t)r;
        float rest = r - (float)whole; /* exact */
        whole += (rest >= 0.5f) - (rest <= -0.5f);
        y[i] = (int8_t)whole;
    }
}
