/* Whether every set of kernels that this processor runs gives what the portable one gives, bit for bit: for processors that
 * only an emulator has. Prints what it compared; the exit status is the number of sets that differ. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { ROUNDS = 3000, MOST_K = 200, WORDS = 4096 };

static uint64_t state = 88172645463325252ull;

static uint32_t any(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int below(int n) { return (int)(any() % (uint32_t)n); }

/* The same sums, laid out as `kernels` wants its weights. */
static void sums(const Kernels *kernels, const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *filter,
                 int outputs, int32_t *counts) {
    static uint32_t weights[MOST_K * MOST_BLOCK];
    static int32_t block[MOST_PIXELS * MOST_BLOCK];
    for (int first = 0; first < outputs; first += kernels->block) {
        const int left = outputs - first < kernels->block ? outputs - first : kernels->block;
        const int used = (left + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
        for (int i = 0; i < k; i++)
            for (int o = 0; o < kernels->block; o++) weights[i * kernels->block + o] = o < left ? filter[(first + o) * k + i] : 0;
        for (int m = 0; m < MOST_PIXELS; m += kernels->pixels) {
            kernels->tile(pixels + m, places, k, weights, used, block, MOST_BLOCK);
            for (int p = 0; p < kernels->pixels; p++)
                memcpy(counts + (m + p) * 64 + first, block + p * MOST_BLOCK, sizeof(int32_t) * (size_t)left);
        }
    }
}

static int differs(const Kernels *kernels) {
    static uint32_t source[WORDS], filter[64 * MOST_K], words[2][8];
    static int32_t places[MOST_K], counts[2][MOST_PIXELS * 64], limits[256], x[256];
    static float multiplier[256], bias[256], y[2][256], values[256];
    static int8_t small[2][256], bytes[256];
    for (int round = 0; round < ROUNDS; round++) {
        const int k = 1 + below(MOST_K), outputs = 1 + below(64), n = 1 + below(200), same = round % 7 == 0;
        const uint32_t *pixels[MOST_PIXELS];
        for (int i = 0; i < WORDS; i++) source[i] = same ? ~0u : any();
        for (int i = 0; i < 64 * MOST_K; i++) filter[i] = same ? 0 : any();
        for (int i = 0; i < k; i++) places[i] = below(1000);
        for (int i = 0; i < MOST_PIXELS; i++) pixels[i] = source + below(WORDS - 1000);
        memset(counts, 0, sizeof counts);
        sums(&portable_kernels, pixels, places, k, filter, outputs, counts[0]);
        sums(kernels, pixels, places, k, filter, outputs, counts[1]);
        if (memcmp(counts[0], counts[1], sizeof counts[0])) return printf("%s: sums differ\n", kernels->name);
        for (int i = 0; i < n; i++) {
            x[i] = below(6000);
            limits[i] = below(6000);
            multiplier[i] = (float)(below(2001) - 1000) / 4096.0f; /* halves come about */
            bias[i] = (float)(below(2001) - 1000) / 8.0f;
            values[i] = below(10) == 0 ? -0.0f : (float)(below(200) - 100);
            bytes[i] = (int8_t)any();
        }
        if (round % 5 == 0) multiplier[below(n)] = NAN;
        const int32_t zero_point = below(256) - 128, least = below(3000), most = least + below(3000);
        for (int side = 0; side < 2; side++) {
            const Kernels *one = side ? kernels : &portable_kernels;
            memset(words[side], 0, sizeof words[side]);
            one->compare(x, limits, n, words[side]);
            one->to_int8(x, round & 1, n, least, most, multiplier, bias, small[side]);
            one->to_float(x, round & 1, n, least, most, multiplier, bias, y[side]);
        }
        if (memcmp(words[0], words[1], sizeof words[0])) return printf("%s: comparisons differ\n", kernels->name);
        if (memcmp(small[0], small[1], (size_t)n)) return printf("%s: int8 differs\n", kernels->name);
        for (int i = 0; i < n; i++)
            if (y[0][i] != y[1][i] && !(isnan(y[0][i]) && isnan(y[1][i]))) return printf("%s: floats differ\n", kernels->name);
        for (int side = 0; side < 2; side++) (side ? kernels : &portable_kernels)->pack_float(values, (size_t)n, words[side]);
        if (memcmp(words[0], words[1], sizeof words[0])) return printf("%s: packed floats differ\n", kernels->name);
        for (int side = 0; side < 2; side++)
            (side ? kernels : &portable_kernels)->pack_int8(bytes, (size_t)n, zero_point, words[side]);
        if (memcmp(words[0], words[1], sizeof words[0])) return printf("%s: packed int8 differs\n", kernels->name);
    }
    printf("%s equals portable in %d rounds\n", kernels->name, (int)ROUNDS);
    return 0;
}

int main(void) {
    int bad = 0;
    for (int i = 0; available_kernels(i) != NULL; i++) bad += differs(available_kernels(i)) != 0;
    return bad;
}
