/* Whether every set of kernels that this processor runs gives what the portable one gives, bit for bit: for processors that
 * only an emulator has. Prints what it compared; the exit status is the number of sets that differ. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { ROUNDS = 1000, MOST_K = 2100, MOST_RUN = 23, WORDS = 4096, MOST = 160 /* output channels */ };

static uint64_t state = 88172645463325252ull;

static uint32_t any(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int below(int n) { return (int)(any() % (uint32_t)n); }

/* What one set of kernels makes of the same pixels and weights. */
typedef struct Answers {
    int32_t counts[MOST_RUN * MOST];
    uint32_t words[MOST_RUN * MOST / 32];
    float floats[MOST_RUN * MOST];
    int8_t bytes[MOST_RUN * MOST];
} Answers;

static struct {
    int count, k, outputs, ahead;
    uint32_t source[2 * WORDS], filter[MOST * MOST_K];
    int starts[MOST_RUN], places[MOST_K];
    int32_t kinds[MOST_RUN], limits[2 * MOST], offsets[2 * MOST], least, most;
    float multiplier[MOST], bias[MOST];
} drawn;

static void answer(const Kernels *kernels, Answers *to) {
    static uint8_t spread[16 * WORDS] __attribute__((aligned(64)));
    static uint32_t filter[MOST_BLOCK * MOST_K];
    static uint64_t weights[MOST_BLOCK * MOST_K] __attribute__((aligned(64)));
    static int32_t places[MOST_K], counts[(MOST_RUN + MOST_PIXELS) * MOST_BLOCK];
    const uint8_t *pixels[MOST_RUN + MOST_PIXELS];
    const int k = drawn.k, width = kernels->word_bytes, block = kernels->block;
    if (kernels->spread != NULL)
        kernels->spread(drawn.source, WORDS, (size_t)drawn.ahead, spread);
    else
        memcpy(spread, drawn.source, 4 * WORDS);
    for (int i = 0; i < k; i++) places[i] = drawn.places[i] * width;
    for (int i = 0; i < drawn.count + MOST_PIXELS; i++)
        pixels[i] = spread + drawn.starts[i < drawn.count ? i : drawn.count - 1] * width;
    memset(to, 0, sizeof *to);
    for (int first = 0; first < drawn.outputs; first += block) {
        const int used = drawn.outputs - first < block ? drawn.outputs - first : block;
        memset(filter, 0, sizeof filter);
        memcpy(filter, drawn.filter + first * k, 4 * (size_t)(used * k));
        kernels->lay(filter, k, weights);
        const Patch patch = {pixels, drawn.count, drawn.ahead * width, places, k, weights, used};
        const Epilogue epilogue = {drawn.kinds, drawn.offsets + first,    drawn.least,
                                   drawn.most,  drawn.multiplier + first, drawn.bias + first};
        kernels->sums(&patch, counts);
        for (int m = 0; m < drawn.count; m++)
            memcpy(to->counts + m * MOST + first, counts + m * block, sizeof(int32_t) * (size_t)used);
        kernels->bits(&patch, drawn.kinds, drawn.limits + first, to->words + first / 32, MOST / 32);
        kernels->to_float(counts, drawn.count, used, &epilogue, to->floats + first, MOST);
        kernels->to_int8(counts, drawn.count, used, &epilogue, to->bytes + first, MOST);
    }
}

static void draw(int round) {
    const int same = round % 7 == 0;
    /* Now and then more words than numbers of 16 bits count. */
    drawn.k = round % 50 == 0 ? MOST_K - below(100) : 1 + below(200);
    drawn.count = 1 + below(MOST_RUN), drawn.outputs = 1 + below(MOST);
    for (int i = 0; i < 2 * WORDS; i++) drawn.source[i] = same ? ~0u : any();
    for (int i = 0; i < MOST * drawn.k; i++) drawn.filter[i] = same ? 0 : any();
    /* Words side by side and with gaps; pixels that follow on the one before, as in a row, and others. */
    drawn.ahead = below(20), drawn.places[0] = 0;
    for (int i = 1; i < drawn.k; i++) drawn.places[i] = drawn.places[i - 1] + 1 + (drawn.k < 250 && below(9) == 0 ? below(10) : 0);
    for (int i = 0; i < MOST_RUN; i++) {
        drawn.starts[i] = i > 0 && below(4) ? drawn.starts[i - 1] + drawn.ahead : below(1000);
        drawn.kinds[i] = MOST * below(2);
    }
    for (int i = 0; i < 2 * MOST; i++) drawn.limits[i] = i % 11 == 0 ? INT32_MAX : below(32 * drawn.k + 2) - 1;
    for (int i = 0; i < 2 * MOST; i++) drawn.offsets[i] = below(200) - 100;
    for (int i = 0; i < MOST; i++) {
        drawn.multiplier[i] = (float)(below(2001) - 1000) / 4096.0f; /* halves come about */
        drawn.bias[i] = (float)(below(2001) - 1000) / 8.0f;
    }
    static const float edges[] = {0x1.fffffep-2f, 0.5f, 1.5f, 126.5f, 0x1.f9fffep6f, 1e30f, INFINITY};
    for (int i = 0; i < MOST; i += 1 + below(20)) {
        drawn.multiplier[i] = 0.0f;
        drawn.bias[i] = edges[below(sizeof edges / sizeof *edges)] * (below(2) ? 1.0f : -1.0f);
    }
    if (round % 5 == 0) drawn.multiplier[below(MOST)] = NAN;
    drawn.least = below(3000), drawn.most = drawn.least + below(3000);
}

static int packs_differ(const Kernels *kernels) {
    static uint32_t words[2][8];
    static float values[256];
    static int8_t bytes[256];
    const int n = 1 + below(200), zero_point = below(256) - 128;
    for (int i = 0; i < n; i++) {
        values[i] = below(10) == 0 ? -0.0f : (float)(below(200) - 100) * (below(10) == 0 ? 1e-42f : 1.0f);
        bytes[i] = (int8_t)any();
    }
    for (int side = 0; side < 2; side++) (side ? kernels : &portable_kernels)->pack_float(values, (size_t)n, words[side]);
    if (memcmp(words[0], words[1], sizeof words[0])) return printf("%s: packed floats differ\n", kernels->name);
    for (int side = 0; side < 2; side++)
        (side ? kernels : &portable_kernels)->pack_int8(bytes, (size_t)n, zero_point, words[side]);
    if (memcmp(words[0], words[1], sizeof words[0])) return printf("%s: packed int8 differs\n", kernels->name);
    return 0;
}

static int differs(const Kernels *kernels) {
    static Answers right, answers;
    for (int round = 0; round < ROUNDS; round++) {
        draw(round);
        answer(&portable_kernels, &right);
        answer(kernels, &answers);
        if (memcmp(right.counts, answers.counts, sizeof right.counts)) return printf("%s: sums differ\n", kernels->name);
        if (memcmp(right.words, answers.words, sizeof right.words)) return printf("%s: bits differ\n", kernels->name);
        if (memcmp(right.bytes, answers.bytes, sizeof right.bytes)) return printf("%s: int8 differs\n", kernels->name);
        for (size_t i = 0; i < sizeof right.floats / sizeof *right.floats; i++) {
            const float a = right.floats[i], b = answers.floats[i];
            if (a != b && !(isnan(a) && isnan(b))) return printf("%s: floats differ\n", kernels->name);
        }
        if (packs_differ(kernels)) return 1;
    }
    printf("%s equals portable in %d rounds\n", kernels->name, (int)ROUNDS);
    return 0;
}

int main(void) {
    int bad = 0;
    for (int i = 0; available_kernels(i) != NULL; i++) bad += differs(available_kernels(i)) != 0;
    return bad;
}
