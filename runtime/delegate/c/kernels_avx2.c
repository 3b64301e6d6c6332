/* AVX2: a byte is an output channel. There is no popcount of vectors, but a table lookup of bytes: half a byte of a pixel
 * chooses a table of 16 numbers, how many bits differ from each half byte that a weight can be.
 *
 * A table serves two pixels, whose numbers of at most 4 share a byte: three lookups are added up before they are taken apart.
 * For 4 bits of 32 channels and two pixels that are 9 operations per 3 lookups, 85 multiplications an operation.
 * Exclusive-or, full adders and a popcount by tables take 39. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#include <immintrin.h>

#include "epilogue.h"
#include "kernels.h"

enum { PIXELS = 8, BLOCK = 128, LANES = 32, VECTORS = BLOCK / LANES, HALVES = 8, ROW = 16, WORD = 2 * HALVES };
enum { BYTES_HOLD = 6 };    /* words whose differences a byte can count, in whole threes of half bytes */
enum { HALVES_HOLD = 3 };   /* half bytes whose differences half a byte can count */
enum { SHORTS_HOLD = 1000 }; /* and a signed number of 16 bits */
/* Words whose weights stay in the nearest cache, 18 KiB of 32, and pixels that they are used for meanwhile. */
enum { CHUNK = 3 * BYTES_HOLD, RUN = 32, LINE = 64 };

#define ALWAYS static inline __attribute__((always_inline))
#define B(i, x) (((i ^ x) & 1) + ((i ^ x) >> 1 & 1) + ((i ^ x) >> 2 & 1) + ((i ^ x) >> 3 & 1))
#define E(i, x, y) B(i, x) + 16 * B(i, y)
#define TABLE(x, y) \
    E(0, x, y), E(1, x, y), E(2, x, y), E(3, x, y), E(4, x, y), E(5, x, y), E(6, x, y), E(7, x, y), E(8, x, y), \
        E(9, x, y), E(10, x, y), E(11, x, y), E(12, x, y), E(13, x, y), E(14, x, y), E(15, x, y)
#define ROWS(y) \
    TABLE(0, y), TABLE(1, y), TABLE(2, y), TABLE(3, y), TABLE(4, y), TABLE(5, y), TABLE(6, y), TABLE(7, y), TABLE(8, y), \
        TABLE(9, y), TABLE(10, y), TABLE(11, y), TABLE(12, y), TABLE(13, y), TABLE(14, y), TABLE(15, y)
/* [second pixel's half byte][first's][weight's] */
static const uint8_t TABLES[16 * 16 * ROW] __attribute__((aligned(64))) = {
    ROWS(0), ROWS(1), ROWS(2),  ROWS(3),  ROWS(4),  ROWS(5),  ROWS(6),  ROWS(7),
    ROWS(8), ROWS(9), ROWS(10), ROWS(11), ROWS(12), ROWS(13), ROWS(14), ROWS(15)};

/* A word becomes the places of its tables, a number of 16 bits for every half byte, the lowest first. */
static void spread(const uint32_t *words, size_t n, size_t ahead, uint8_t *to) {
    const __m128i half = _mm_set1_epi8(15);
    size_t i = 0;
    for (; i + 4 <= n; i += 4, to += 8 * HALVES) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(words + i)), y = _mm_loadu_si128((const __m128i *)(words + i + ahead));
        const __m128i low_x = _mm_slli_epi16(_mm_and_si128(x, half), 4), high_x = _mm_andnot_si128(half, x);
        const __m128i low_y = _mm_and_si128(y, half), high_y = _mm_and_si128(_mm_srli_epi16(y, 4), half);
        const __m128i x0 = _mm_unpacklo_epi8(low_x, high_x), x1 = _mm_unpackhi_epi8(low_x, high_x);
        const __m128i y0 = _mm_unpacklo_epi8(low_y, high_y), y1 = _mm_unpackhi_epi8(low_y, high_y);
        _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi8(x0, y0));
        _mm_storeu_si128((__m128i *)(to + 16), _mm_unpackhi_epi8(x0, y0));
        _mm_storeu_si128((__m128i *)(to + 32), _mm_unpacklo_epi8(x1, y1));
        _mm_storeu_si128((__m128i *)(to + 48), _mm_unpackhi_epi8(x1, y1));
    }
    for (; i < n; i++)
        for (int j = 0; j < HALVES; j++) {
            *to++ = (uint8_t)((words[i] >> 4 * j & 15) * ROW);
            *to++ = (uint8_t)(words[i + ahead] >> 4 * j & 15);
        }
}

/* [k][half byte][channel], a half byte in a byte. */
static void lay(const uint32_t *filter, int k, void *weights) {
    uint8_t *to = weights;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < HALVES; j++)
            for (int o = 0; o < BLOCK; o++) *to++ = filter[(size_t)o * (size_t)k + (size_t)i] >> 4 * j & 15;
}

/* Places of the tables of two pixels, for every half byte of `words` words: where `spread` put them, if the second pixel is
 * the next of the row and the words lie side by side, or in `room`. */
ALWAYS const uint16_t *find_tables(const uint8_t *const *pixels, ptrdiff_t ahead, const int32_t *places, int words, uint16_t *room) {
    const uint8_t *const a = pixels[0], *const b = pixels[1];
    if (b - a == ahead && places[words - 1] - places[0] == (words - 1) * WORD) return (const uint16_t *)(const void *)(a + places[0]);
    const __m128i half = _mm_set1_epi16(15 * ROW);
    for (int i = 0; i < words; i++) {
        const __m128i x = _mm_and_si128(half, _mm_loadu_si128((const __m128i *)(a + places[i])));
        const __m128i y = _mm_and_si128(half, _mm_loadu_si128((const __m128i *)(b + places[i])));
        _mm_storeu_si128((__m128i *)(room + HALVES * i), _mm_or_si128(x, _mm_slli_epi16(y, 4)));
    }
    return room;
}

/* What a tile adds up, by name: compilers keep what has an index in memory. Each of four sums is of two pixels and a vector of
 * channels: of one pair of pixels, two or four, pair by pair, and of 4, 2 or 1 vectors. */
#define FOUR(DO) DO(0) DO(1) DO(2) DO(3)
#define PAIR(n) ((n) / vectors)
#define VECTOR(n) ((n) % vectors)

/* A sum in a register: compilers that add up terms before they add them to a sum keep all of them. */
ALWAYS void add_bytes(__m256i *sum, __m256i x) {
    *sum = _mm256_add_epi8(*sum, x);
    __asm__("" : "+x"(*sum));
}

ALWAYS void add_shorts(__m256i *sum, __m256i x) {
    *sum = _mm256_add_epi16(*sum, x);
    __asm__("" : "+x"(*sum));
}

/* Of half a byte of two pixels, of one in the lower half of each byte. */
ALWAYS __m256i differences(uint16_t table, const uint8_t *weights) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(TABLES + table))),
                               _mm256_load_si256((const __m256i *)weights));
}

/* Sums of a pixel in numbers of 16 bits: [0] of even channels, with 256 times the odd one's beside, and [1] of odd ones. */
typedef __m256i Totals[VECTORS][2];

/* Adds to what was there before, of a pair's pixels and a vector. */
ALWAYS void flush(__m256i first, __m256i second, const Totals *before, Totals *totals, int v) {
    const __m256i odd = _mm256_srli_epi16(first, 8);
    second = _mm256_sub_epi16(second, _mm256_slli_epi16(odd, 4));
    totals[0][v][0] = _mm256_add_epi16(before[0][v][0], first);
    totals[0][v][1] = _mm256_add_epi16(before[0][v][1], odd);
    totals[1][v][0] = _mm256_add_epi16(before[1][v][0], second);
    totals[1][v][1] = _mm256_add_epi16(before[1][v][1], _mm256_srli_epi16(second, 8));
}

/* Adds differences of 4 / vectors pairs of pixels in at most CHUNK words, the first of all or others. */
ALWAYS void tile(const uint8_t *const *pixels, ptrdiff_t ahead, const int32_t *places, int k, const uint8_t *weights,
                 const int vectors, int is_first, Totals *totals) {
    static const Totals nothing[PIXELS];
    uint16_t room[PIXELS / 2][BYTES_HOLD * HALVES];
    for (int i = 0; i < k; i += BYTES_HOLD, places += BYTES_HOLD) {
        const int words = k - i < BYTES_HOLD ? k - i : BYTES_HOLD, halves = words * HALVES;
        const uint16_t *const t0 = find_tables(pixels, ahead, places, words, room[0]);
        const uint16_t *const t1 = vectors < 4 ? find_tables(pixels + 2, ahead, places, words, room[1]) : t0;
        const uint16_t *const t2 = vectors < 2 ? find_tables(pixels + 4, ahead, places, words, room[2]) : t0;
        const uint16_t *const t3 = vectors < 2 ? find_tables(pixels + 6, ahead, places, words, room[3]) : t0;
#define BEGIN(n) __m256i first##n = _mm256_setzero_si256(), second##n = first##n;
        FOUR(BEGIN)
        const __m256i half = _mm256_set1_epi8(15);
        int h = 0;
#define TABLES_OF(n) (PAIR(n) == 0 ? t0 : PAIR(n) == 1 ? t1 : PAIR(n) == 2 ? t2 : t3)
#define FOUND(n, j) differences(TABLES_OF(n)[h + (j)], weights + (j) * BLOCK + VECTOR(n) * LANES)
#define LOOK_UP(n) __m256i both##n = FOUND(n, 0);
#define LOOK_UP_SECOND(n) add_bytes(&both##n, FOUND(n, 1));
#define LOOK_UP_THIRD(n) add_bytes(&both##n, FOUND(n, 2));
/* The second pixels' sums, in numbers of 16 bits, have 16 times an odd channel's first one over them: `flush` takes it out. */
#define TAKE_APART(n)                                  \
    add_bytes(&first##n, _mm256_and_si256(both##n, half)); \
    add_shorts(&second##n, _mm256_srli_epi16(both##n, 4));
        for (; h + HALVES_HOLD <= halves; h += HALVES_HOLD, weights += HALVES_HOLD * BLOCK) {
            FOUR(LOOK_UP)
            FOUR(LOOK_UP_SECOND)
            FOUR(LOOK_UP_THIRD)
            FOUR(TAKE_APART)
        }
        for (; h < halves; h++, weights += BLOCK) {
            FOUR(LOOK_UP)
            FOUR(TAKE_APART)
        }
        const Totals *const before = is_first && i == 0 ? nothing : totals;
#define FLUSH(n) flush(first##n, second##n, before + 2 * PAIR(n), totals + 2 * PAIR(n), VECTOR(n));
        FOUR(FLUSH)
    }
}

/* Sums of at most RUN pixels from `m` on over `k` words from `i` on, at most SHORTS_HOLD. In the first RUN what follows the
 * weights is fetched meanwhile: it is what comes next, or the next block's. */
ALWAYS void totals_of(const Patch *patch, int m, int i, int k, const int vectors, Totals totals[RUN]) {
    enum { BYTES = CHUNK * HALVES * BLOCK };
    const int pixels = patch->count - m < RUN ? patch->count - m : RUN, step = 2 * (4 / vectors);
    const uint8_t *weights = (const uint8_t *)patch->weights + (ptrdiff_t)i * HALVES * BLOCK;
    for (int j = 0; j < k; j += CHUNK, weights += BYTES)
        for (int p = 0; p < pixels; p += step) {
            if (m == 0)
                for (int at = BYTES / RUN * p; at < BYTES / RUN * (p + step); at += LINE)
                    _mm_prefetch((const char *)weights + BYTES + at, _MM_HINT_T0);
            tile(patch->pixels + m + p, patch->ahead, patch->places + i + j, k - j < CHUNK ? k - j : CHUNK, weights, vectors, j == 0,
                 totals + p);
        }
}

/* A vector's channels 0 to 7 and 16 to 23, then 8 to 15 and 24 to 31. */
ALWAYS void in_order(const __m256i total[2], __m256i shorts[2]) {
    const __m256i even = _mm256_sub_epi16(total[0], _mm256_slli_epi16(total[1], 8));
    shorts[0] = _mm256_unpacklo_epi16(even, total[1]);
    shorts[1] = _mm256_unpackhi_epi16(even, total[1]);
}

ALWAYS void add_to(int32_t *counts, const __m256i total[2], int is_first) {
    __m256i shorts[2];
    in_order(total, shorts);
    const __m128i parts[4] = {_mm256_castsi256_si128(shorts[0]), _mm256_castsi256_si128(shorts[1]),
                              _mm256_extracti128_si256(shorts[0], 1), _mm256_extracti128_si256(shorts[1], 1)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i *to = (__m256i *)(counts + 8 * i);
        const __m256i before = is_first ? _mm256_setzero_si256() : _mm256_loadu_si256(to);
        _mm256_storeu_si256(to, _mm256_add_epi32(before, _mm256_cvtepu16_epi32(parts[i])));
    }
}

ALWAYS void sums_of(const Patch *patch, const int vectors, int32_t *counts) {
    for (int m = 0; m < patch->count; m += RUN, counts += RUN * BLOCK)
        for (int i = 0; i < patch->k; i += SHORTS_HOLD) {
            Totals totals[RUN];
            totals_of(patch, m, i, patch->k - i < SHORTS_HOLD ? patch->k - i : SHORTS_HOLD, vectors, totals);
            for (int p = 0; p < RUN && m + p < patch->count; p++)
                for (int v = 0; v < vectors; v++) add_to(counts + p * BLOCK + LANES * v, totals[p][v], i == 0);
        }
}

static void sums(const Patch *patch, int32_t *counts) {
    if (patch->used > 2 * LANES)
        sums_of(patch, 4, counts);
    else if (patch->used > LANES)
        sums_of(patch, 2, counts);
    else
        sums_of(patch, 1, counts);
}

/* Limits of a vector's channels as numbers of 16 bits, in the order of `in_order`. */
ALWAYS __m256i limits_of(const int32_t *limits) {
    const __m256i a = _mm256_loadu2_m128i((const __m128i *)(limits + 16), (const __m128i *)limits);
    const __m256i b = _mm256_loadu2_m128i((const __m128i *)(limits + 20), (const __m128i *)(limits + 4));
    return _mm256_packs_epi32(a, b);
}

ALWAYS void bits_of(const Patch *patch, const int vectors, const int32_t *kinds, const int32_t *limits,
                    uint32_t *to, size_t stride) {
    const int rest = patch->used % LANES, last = (patch->used - 1) / LANES;
    const uint32_t there = rest ? (1u << rest) - 1 : ~0u; /* of the last vector */
    __m256i limit[VECTORS][2] = {{_mm256_setzero_si256()}}; /* what compilers ask for */
    for (int m = 0; m < patch->count; m += RUN) {
        Totals totals[RUN];
        totals_of(patch, m, 0, patch->k, vectors, totals);
        for (int p = 0; p < RUN && m + p < patch->count; p++) {
            if (m + p == 0 || kinds[m + p] != kinds[m + p - 1]) {
                for (int v = 0; v < vectors; v++)
                    for (int i = 0; i < 2; i++) limit[v][i] = limits_of(limits + kinds[m + p] + LANES * v + 8 * i);
            }
            for (int v = 0; v <= last; v++) {
                __m256i shorts[2];
                in_order(totals[p][v], shorts);
                const __m256i low = _mm256_cmpgt_epi16(shorts[0], limit[v][0]);
                const __m256i high = _mm256_cmpgt_epi16(shorts[1], limit[v][1]);
                const uint32_t word = (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(low, high));
                to[(size_t)(m + p) * stride + (size_t)v] = v < last ? word : word & there;
            }
        }
    }
}

/* Where numbers of 16 bits hold no counts. */
static void bits_of_many(const Patch *patch, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride) {
    for (int m = 0; m < patch->count; m += PIXELS) {
        int32_t counts[PIXELS * BLOCK];
        Patch one = *patch;
        one.pixels += m;
        one.count = PIXELS;
        sums(&one, counts);
        for (int p = 0; p < PIXELS && m + p < patch->count; p++)
            for (int o = 0; o < patch->used; o += LANES) {
                uint32_t word = 0;
                for (int i = o; i < o + LANES && i < patch->used; i++)
                    word |= (uint32_t)(counts[p * BLOCK + i] > limits[kinds[m + p] + i]) << (i - o);
                to[(size_t)(m + p) * stride + (size_t)(o / LANES)] = word;
            }
    }
}

static void bits(const Patch *patch, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride) {
    if (patch->k > SHORTS_HOLD)
        bits_of_many(patch, kinds, limits, to, stride);
    else if (patch->used > 2 * LANES)
        bits_of(patch, 4, kinds, limits, to, stride);
    else if (patch->used > LANES)
        bits_of(patch, 2, kinds, limits, to, stride);
    else
        bits_of(patch, 1, kinds, limits, to, stride);
}

static void to_float(const int32_t *counts, int count, int used, const Epilogue *e, float *y, size_t stride) {
    to_float_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

/* Rounded, not yet saturated to int8. */
ALWAYS __m256i eight(const int32_t *counts, const int32_t *offset, const Epilogue *e, int o) {
    __m256i v = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(counts + o)), 1);
    v = _mm256_add_epi32(v, _mm256_loadu_si256((const __m256i *)(offset + o)));
    v = _mm256_max_epi32(_mm256_min_epi32(v, _mm256_set1_epi32(e->most)), _mm256_set1_epi32(e->least));
    __m256 r = _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_loadu_ps(e->multiplier + o));
    r = _mm256_add_ps(r, _mm256_loadu_ps(e->bias + o));
    /* The second operand is what is left of NaN, which becomes the least number, as what is below all numbers does. */
    r = _mm256_min_ps(_mm256_set1_ps(127.0f), r);
    /* The number before a half: with it a half comes to a whole one by rounding to even, and what is below does not. */
    const __m256 half = _mm256_or_ps(_mm256_and_ps(r, _mm256_set1_ps(-0.0f)), _mm256_set1_ps(0x1.fffffep-2f));
    return _mm256_cvttps_epi32(_mm256_add_ps(r, half));
}

static void to_int8(const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y, size_t stride) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing works on halves of vectors */
    for (int m = 0; m < count; m++, counts += BLOCK, y += stride) {
        const int32_t *offset = e->offsets + e->kinds[m];
        int o = 0;
        for (; o + 32 <= used; o += 32) {
            const __m256i a = _mm256_packs_epi32(eight(counts, offset, e, o), eight(counts, offset, e, o + 8));
            const __m256i b = _mm256_packs_epi32(eight(counts, offset, e, o + 16), eight(counts, offset, e, o + 24));
            const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
            _mm256_storeu_si256((__m256i *)(y + o), bytes);
        }
        for (; o + 8 <= used; o += 8) {
            const __m256i v = eight(counts, offset, e, o);
            const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
            _mm_storel_epi64((__m128i *)(y + o), _mm_packs_epi16(shorts, shorts));
        }
        int8_of(counts + o, offset + o, used - o, e->least, e->most, e->multiplier + o, e->bias + o, y + o);
    }
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        size_t j = 0;
        for (; j < 32 && i + j + 8 <= n; j += 8) {
            const __m256 a = _mm256_loadu_ps(x + i + j);
            word |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ)) << j;
        }
        for (; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] < 0.0f) << j;
        words[i / 32] = word;
    }
}

static void pack_int8(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words) {
    const __m256i limit = _mm256_set1_epi8((char)zero_point);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(x + i));
        words[i / 32] = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, a));
    }
    if (i < n) {
        uint32_t word = 0;
        for (size_t j = 0; i + j < n; j++) word |= (uint32_t)(x[i + j] < zero_point) << j;
        words[i / 32] = word;
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

const Kernels avx2_kernels = {.name = "avx2",
                              .pixels = PIXELS,
                              .block = BLOCK,
                              .word_bytes = WORD,
                              .weight_bytes = HALVES * BLOCK,
                              .spread = spread,
                              .lay = lay,
                              .sums = sums,
                              .bits = bits,
                              .to_float = to_float,
                              .to_int8 = to_int8,
                              .pack_float = pack_float,
                              .pack_int8 = pack_int8};
#else
typedef int nothing_here;
#endif
