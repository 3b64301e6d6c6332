/* AVX-512 with VPOPCNTDQ: a lane is an output channel.
 *
 * Two words at a time pass a full adder whose sum stays in `ones`: its carries alone are counted, with weight 2. With
 * three-input logic that is 2.5 operations a word and vector, against 3 for xor, popcount and add (Harley and Seal). */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,prefer-vector-width=512")
#endif

#include <immintrin.h>

#include "epilogue.h"
#include "kernels.h"

enum { PIXELS = 4, BLOCK = 32, LANES = 16, LINE = 64 };

#define ALWAYS static inline __attribute__((always_inline))

static void lay(const uint32_t *filter, int k, void *weights) { lay_strips(filter, k, BLOCK, BLOCK, weights); }

ALWAYS __m512i word(const uint8_t *p) { return _mm512_set1_epi32(*(const int *)(const void *)p); }

/* Counts of PIXELS pixels and 16 or 32 channels. */
ALWAYS void tile(const uint8_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, const int vectors,
                 __m512i total[PIXELS][2]) {
    const uint8_t *const p[PIXELS] = {pixels[0], pixels[1], pixels[2], pixels[3]};
#pragma GCC unroll 4
    for (int m = 0; m < PIXELS; m++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) total[m][v] = _mm512_setzero_si512();
    }
#pragma GCC unroll 2
    for (int i = 0; i < k; i++, weights += BLOCK) {
        const ptrdiff_t place = places[i];
        __m512i w[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) w[v] = _mm512_loadu_si512(weights + LANES * v);
#pragma GCC unroll 4
        for (int m = 0; m < PIXELS; m++) {
            const __m512i x = word(p[m] + place);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                total[m][v] = _mm512_add_epi32(total[m][v], _mm512_popcnt_epi32(_mm512_xor_si512(x, w[v])));
        }
    }
}

/* The next block's weights, which may have left the caches since the last run, come while this one is worked on. */
ALWAYS void fetch_ahead(const Patch *w, int first) {
    const ptrdiff_t bytes = (ptrdiff_t)w->k * BLOCK * 4, tiles = (w->count + PIXELS - 1) / PIXELS, i = first / PIXELS;
    const char *next = (const char *)w->weights + bytes;
    for (ptrdiff_t at = bytes * i / tiles; at < bytes * (i + 1) / tiles; at += LINE) _mm_prefetch(next + at, _MM_HINT_T0);
}

ALWAYS void sums_of(const Patch *w, const int vectors, int32_t *counts) {
    for (int m = 0; m < w->count; m += PIXELS, counts += PIXELS * BLOCK) {
        __m512i total[PIXELS][2];
        tile(w->pixels + m, w->places, w->k, w->weights, vectors, total);
        fetch_ahead(w, m);
        for (int i = 0; i < PIXELS; i++)
            for (int v = 0; v < vectors; v++) _mm512_storeu_si512(counts + i * BLOCK + LANES * v, total[i][v]);
    }
}

static void sums(const Patch *w, int32_t *counts) {
    if (w->used > LANES)
        sums_of(w, 2, counts);
    else
        sums_of(w, 1, counts);
}

/* Not by shifting: GCC 12 takes 32 bits of a mask of 16 that it has put into memory. */
ALWAYS uint32_t both(__mmask16 low, __mmask16 high) { return _mm512_kunpackw(high, low); }

ALWAYS void bits_of(const Patch *w, const int vectors, const int32_t *kinds, const int32_t *limits, uint32_t *to,
                    size_t stride) {
    const uint32_t there = w->used < BLOCK ? (1u << w->used) - 1 : ~0u;
    for (int m = 0; m < w->count; m += PIXELS) {
        __m512i total[PIXELS][2];
        tile(w->pixels + m, w->places, w->k, w->weights, vectors, total);
        fetch_ahead(w, m);
        for (int i = 0; i < PIXELS && m + i < w->count; i++) {
            const int32_t *limit = limits + kinds[m + i];
            const __mmask16 low = _mm512_cmpgt_epi32_mask(total[i][0], _mm512_loadu_si512(limit));
            const uint32_t found =
                vectors == 1 ? low : both(low, _mm512_cmpgt_epi32_mask(total[i][1], _mm512_loadu_si512(limit + LANES)));
            to[(size_t)(m + i) * stride] = found & there;
        }
    }
}

static void bits(const Patch *w, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride) {
    if (w->used > LANES)
        bits_of(w, 2, kinds, limits, to, stride);
    else
        bits_of(w, 1, kinds, limits, to, stride);
}

static inline __mmask16 first(int n) { return n < LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff; }

static void to_float(const int32_t *counts, int count, int used, const Epilogue *e, float *y, size_t stride) {
    to_float_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

static void to_int8(const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y, size_t stride) {
    const __m512i low = _mm512_set1_epi32(e->least), high = _mm512_set1_epi32(e->most);
    for (int o = 0; o < used; o += LANES) {
        const __mmask16 mask = first(used - o);
        const __m512 multiplier = _mm512_maskz_loadu_ps(mask, e->multiplier + o);
        const __m512 bias = _mm512_maskz_loadu_ps(mask, e->bias + o);
        for (int m = 0; m < count; m++) {
            __m512i v = _mm512_slli_epi32(_mm512_loadu_si512(counts + m * BLOCK + o), 1);
            v = _mm512_add_epi32(v, _mm512_maskz_loadu_epi32(mask, e->offsets + e->kinds[m] + o));
            v = _mm512_max_epi32(_mm512_min_epi32(v, high), low);
            __m512 r = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(v), multiplier), bias);
            /* The second operand is what is left of NaN. */
            r = _mm512_min_ps(_mm512_max_ps(r, _mm512_set1_ps(-128.0f)), _mm512_set1_ps(127.0f));
            v = _mm512_cvttps_epi32(r);
            const __m512 rest = _mm512_sub_ps(r, _mm512_cvtepi32_ps(v));
            v = _mm512_add_epi32(v, _mm512_cvttps_epi32(_mm512_add_ps(rest, rest)));
            _mm512_mask_cvtepi32_storeu_epi8(y + (size_t)m * stride + o, mask, v);
        }
    }
}

/* Of up to 16 numbers. */
ALWAYS __mmask16 negative(const float *x, size_t n) {
    const __m512 a = _mm512_maskz_loadu_ps(n < LANES ? first((int)n) : 0xffff, x);
    return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ);
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        const __mmask16 low = negative(x + i, n - i), high = n - i > LANES ? negative(x + i + LANES, n - i - LANES) : 0;
        words[i / 32] = both(low, high);
    }
}

static void pack_int8(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words) {
    const __m256i limit = _mm256_set1_epi8((char)zero_point);
    for (size_t i = 0; i < n; i += 32) {
        const __mmask32 mask = n - i < 32 ? (1u << (n - i)) - 1 : ~0u;
        words[i / 32] = _mm256_mask_cmplt_epi8_mask(mask, _mm256_maskz_loadu_epi8(mask, x + i), limit);
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

const Kernels avx512_kernels = {.name = "avx512",
                                .pixels = PIXELS,
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
#else
typedef int nothing_here;
#endif
