/* AVX2: a byte is an output channel. There is no popcount of vectors, but a table lookup of bytes: half a byte of a pixel
 * chooses a table of 16 numbers, how many bits differ from each half byte that a weight can be.
 *
 * A table serves two pixels, whose numbers of at most 4 share a byte: three lookups are added up before they are taken apart.
 * For 4 bits of 32 channels and two pixels that are 10 operations per 3 lookups, 77 multiplications an operation.
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

enum { PIXELS = 4, BLOCK = 128, LANES = 32, VECTORS = BLOCK / LANES, HALVES = 8, ROW = 16 };
enum { BYTES_HOLD = 6 };    /* words whose differences a byte can count, in whole threes of half bytes */
enum { HALVES_HOLD = 3 };   /* half bytes whose differences half a byte can count */
enum { SHORTS_HOLD = 1000 }; /* and a signed number of 16 bits */

#define ALWAYS static inline __attribute__((always_inline))
/* A sum in a register: compilers that add up a loop's terms before they add them to it keep all of them in memory. */
#define KEEP(x) __asm__("" : "+x"(x))

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

/* A word becomes its half bytes, each in the upper half of a byte, the lowest first. */
static void spread(const uint32_t *words, size_t n, uint8_t *to) {
    const __m128i half = _mm_set1_epi8(15);
    size_t i = 0;
    for (; i + 4 <= n; i += 4, to += 4 * HALVES) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(words + i));
        const __m128i low = _mm_slli_epi16(_mm_and_si128(x, half), 4), high = _mm_andnot_si128(half, x);
        _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi8(low, high));
        _mm_storeu_si128((__m128i *)(to + 16), _mm_unpackhi_epi8(low, high));
    }
    for (; i < n; i++)
        for (int j = 0; j < HALVES; j++) *to++ = (uint8_t)((words[i] >> 4 * j & 15) * ROW);
}

/* [k][half byte][channel], a half byte in a byte. */
static void lay(const uint32_t *filter, int k, void *weights) {
    uint8_t *to = weights;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < HALVES; j++)
            for (int o = 0; o < BLOCK; o++) *to++ = filter[(size_t)o * (size_t)k + (size_t)i] >> 4 * j & 15;
}

/* Places of the tables of two pixels, for every half byte of `words` words. */
ALWAYS void find_tables(const uint8_t *a, const uint8_t *b, const int32_t *places, int words, uint16_t *tables) {
    for (int i = 0; i < words; i++) {
        const __m128i x = _mm_loadl_epi64((const __m128i *)(a + places[i])), y = _mm_loadl_epi64((const __m128i *)(b + places[i]));
        _mm_storeu_si128((__m128i *)(tables + HALVES * i), _mm_unpacklo_epi8(x, _mm_srli_epi16(y, 4)));
    }
}

/* Adds up `count` half bytes of two pixels, HALVES_HOLD at most. */
ALWAYS void add_halves(const uint16_t *tables, const uint8_t *weights, const int count, const int vectors,
                       __m256i first[VECTORS], __m256i second[VECTORS]) {
    const __m256i half = _mm256_set1_epi8(15);
    __m256i both[VECTORS];
#pragma GCC unroll 3
    for (int j = 0; j < count; j++) {
        const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(TABLES + tables[j])));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const __m256i w = _mm256_load_si256((const __m256i *)(weights + j * BLOCK + LANES * v));
            const __m256i found = _mm256_shuffle_epi8(table, w);
            both[v] = j == 0 ? found : _mm256_add_epi8(both[v], found);
            KEEP(both[v]);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        first[v] = _mm256_add_epi8(first[v], _mm256_and_si256(both[v], half));
        second[v] = _mm256_add_epi8(second[v], _mm256_and_si256(_mm256_srli_epi16(both[v], 4), half));
        KEEP(first[v]);
        KEEP(second[v]);
    }
}

/* Numbers of 16 bits, of each pixel and vector: its channels 0 to 7 and 16 to 23, then 8 to 15 and 24 to 31. */
typedef __m256i Shorts[PIXELS][VECTORS][2];

/* Differences in at most SHORTS_HOLD words. There are registers for two pixels of four vectors, or four of two; with more
 * vectors fewer instructions look up tables. */
ALWAYS void tile(const uint8_t *const *pixels, const int32_t *places, int k, const uint8_t *weights, const int count,
                 const int vectors, Shorts shorts) {
    for (int m = 0; m < count; m++)
        for (int v = 0; v < vectors; v++) shorts[m][v][0] = shorts[m][v][1] = _mm256_setzero_si256();
    for (int i = 0; i < k; i += BYTES_HOLD) {
        uint16_t tables[PIXELS / 2][BYTES_HOLD * HALVES];
        const int words = k - i < BYTES_HOLD ? k - i : BYTES_HOLD, halves = words * HALVES;
        for (int m = 0; m < count; m += 2) find_tables(pixels[m], pixels[m + 1], places + i, words, tables[m / 2]);
        __m256i bytes[PIXELS][VECTORS];
#pragma GCC unroll 4
        for (int m = 0; m < count; m++) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) bytes[m][v] = _mm256_setzero_si256();
        }
        int j = 0;
        for (; j + HALVES_HOLD <= halves; j += HALVES_HOLD, weights += HALVES_HOLD * BLOCK) {
#pragma GCC unroll 2
            for (int m = 0; m < count; m += 2)
                add_halves(tables[m / 2] + j, weights, HALVES_HOLD, vectors, bytes[m], bytes[m + 1]);
        }
        for (; j < halves; j++, weights += BLOCK) {
#pragma GCC unroll 2
            for (int m = 0; m < count; m += 2) add_halves(tables[m / 2] + j, weights, 1, vectors, bytes[m], bytes[m + 1]);
        }
        const __m256i zero = _mm256_setzero_si256();
        for (int m = 0; m < count; m++)
            for (int v = 0; v < vectors; v++) {
                shorts[m][v][0] = _mm256_add_epi16(shorts[m][v][0], _mm256_unpacklo_epi8(bytes[m][v], zero));
                shorts[m][v][1] = _mm256_add_epi16(shorts[m][v][1], _mm256_unpackhi_epi8(bytes[m][v], zero));
            }
    }
}

ALWAYS void add_to(int32_t *counts, const __m256i shorts[2], int is_first) {
    const __m128i parts[4] = {_mm256_castsi256_si128(shorts[0]), _mm256_castsi256_si128(shorts[1]),
                              _mm256_extracti128_si256(shorts[0], 1), _mm256_extracti128_si256(shorts[1], 1)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i *to = (__m256i *)(counts + 8 * i);
        const __m256i before = is_first ? _mm256_setzero_si256() : _mm256_loadu_si256(to);
        _mm256_storeu_si256(to, _mm256_add_epi32(before, _mm256_cvtepu16_epi32(parts[i])));
    }
}

ALWAYS void sums_of(const Patch *patch, const int count, const int vectors, int32_t *counts) {
    for (int m = 0; m < patch->count; m += count, counts += count * BLOCK) {
        const uint8_t *weights = patch->weights;
        for (int i = 0; i < patch->k; i += SHORTS_HOLD, weights += (size_t)SHORTS_HOLD * HALVES * BLOCK) {
            Shorts shorts;
            const int k = patch->k - i < SHORTS_HOLD ? patch->k - i : SHORTS_HOLD;
            tile(patch->pixels + m, patch->places + i, k, weights, count, vectors, shorts);
            for (int p = 0; p < count; p++)
                for (int v = 0; v < vectors; v++) add_to(counts + p * BLOCK + LANES * v, shorts[p][v], i == 0);
        }
    }
}

static void sums(const Patch *patch, int32_t *counts) {
    if (patch->used > 2 * LANES)
        sums_of(patch, 2, 4, counts);
    else if (patch->used > LANES)
        sums_of(patch, 4, 2, counts);
    else
        sums_of(patch, 4, 1, counts);
}

/* Limits of a vector's channels as numbers of 16 bits, in the order of a tile's. */
ALWAYS __m256i limits_of(const int32_t *limits) {
    const __m256i a = _mm256_loadu2_m128i((const __m128i *)(limits + 16), (const __m128i *)limits);
    const __m256i b = _mm256_loadu2_m128i((const __m128i *)(limits + 20), (const __m128i *)(limits + 4));
    return _mm256_packs_epi32(a, b);
}

ALWAYS void bits_of(const Patch *patch, const int count, const int vectors, const int32_t *kinds, const int32_t *limits,
                    uint32_t *to, size_t stride) {
    const int rest = patch->used % LANES, last = (patch->used - 1) / LANES;
    const uint32_t there = rest ? (1u << rest) - 1 : ~0u; /* of the last vector */
    __m256i limit[VECTORS][2] = {{_mm256_setzero_si256()}}; /* what compilers ask for */
    for (int m = 0; m < patch->count; m += count) {
        Shorts shorts;
        tile(patch->pixels + m, patch->places, patch->k, patch->weights, count, vectors, shorts);
        for (int p = 0; p < count && m + p < patch->count; p++) {
            if (m + p == 0 || kinds[m + p] != kinds[m + p - 1]) {
                for (int v = 0; v < vectors; v++)
                    for (int i = 0; i < 2; i++) limit[v][i] = limits_of(limits + kinds[m + p] + LANES * v + 8 * i);
            }
            for (int v = 0; v <= last; v++) {
                const __m256i low = _mm256_cmpgt_epi16(shorts[p][v][0], limit[v][0]);
                const __m256i high = _mm256_cmpgt_epi16(shorts[p][v][1], limit[v][1]);
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
        bits_of(patch, 2, 4, kinds, limits, to, stride);
    else if (patch->used > LANES)
        bits_of(patch, 4, 2, kinds, limits, to, stride);
    else
        bits_of(patch, 4, 1, kinds, limits, to, stride);
}

static void to_float(const int32_t *counts, int count, int used, const Epilogue *e, float *y, size_t stride) {
    to_float_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

static void eight_to_int8(const int32_t *counts, const int32_t *offset, const Epilogue *e, int o, int8_t *y) {
    __m256i v = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(counts + o)), 1);
    v = _mm256_add_epi32(v, _mm256_loadu_si256((const __m256i *)(offset + o)));
    v = _mm256_max_epi32(_mm256_min_epi32(v, _mm256_set1_epi32(e->most)), _mm256_set1_epi32(e->least));
    __m256 r = _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_loadu_ps(e->multiplier + o));
    r = _mm256_add_ps(r, _mm256_loadu_ps(e->bias + o));
    /* The second operand is what is left of NaN. */
    r = _mm256_min_ps(_mm256_max_ps(r, _mm256_set1_ps(-128.0f)), _mm256_set1_ps(127.0f));
    v = _mm256_cvttps_epi32(r);
    const __m256 rest = _mm256_sub_ps(r, _mm256_cvtepi32_ps(v));
    v = _mm256_add_epi32(v, _mm256_cvttps_epi32(_mm256_add_ps(rest, rest)));
    const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)(y + o), _mm_packs_epi16(half, half));
}

static void to_int8(const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y, size_t stride) {
    for (int m = 0; m < count; m++, counts += BLOCK, y += stride) {
        const int32_t *offset = e->offsets + e->kinds[m];
        int o = 0;
        for (; o + 8 <= used; o += 8) eight_to_int8(counts, offset, e, o, y);
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
                              .word_bytes = HALVES,
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
