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

enum { PIXELS = 4, BLOCK = 32, LANES = 16, XOR3 = 0x96, CARRY = 0x3a };

/* CARRY: with t = ones ^ x0, s = t ^ x1 the carry is t ? ~s ^ ... = t ? s ^ t : ones, and s ^ t is ~s where t is 1. */

static inline __attribute__((always_inline)) void tile_of(const uint32_t *const *pixels, const int32_t *places, int k,
                                                          const uint32_t *weights, const int vectors, int32_t *counts,
                                                          size_t stride) {
    __m512i ones[PIXELS][2], sums[PIXELS][2];
    const uint32_t *p[PIXELS];
#pragma GCC unroll 4
    for (int m = 0; m < PIXELS; m++) {
        p[m] = pixels[m];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) ones[m][v] = sums[m][v] = _mm512_setzero_si512();
    }
    int i = 0;
    for (; i + 1 < k; i += 2, weights += 2 * BLOCK) {
        const int32_t first = places[i], second = places[i + 1];
        __m512i w[2][2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            w[0][v] = _mm512_loadu_si512(weights + LANES * v);
            w[1][v] = _mm512_loadu_si512(weights + BLOCK + LANES * v);
        }
#pragma GCC unroll 4
        for (int m = 0; m < PIXELS; m++) {
            const __m512i a = _mm512_set1_epi32((int)p[m][first]), b = _mm512_set1_epi32((int)p[m][second]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                const __m512i t = _mm512_ternarylogic_epi32(ones[m][v], a, w[0][v], XOR3);
                const __m512i s = _mm512_ternarylogic_epi32(t, b, w[1][v], XOR3);
                const __m512i carry = _mm512_ternarylogic_epi32(t, s, ones[m][v], CARRY);
                sums[m][v] = _mm512_add_epi32(sums[m][v], _mm512_popcnt_epi32(carry));
                ones[m][v] = s;
            }
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < PIXELS; m++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            __m512i total = _mm512_add_epi32(_mm512_slli_epi32(sums[m][v], 1), _mm512_popcnt_epi32(ones[m][v]));
            if (i < k) {
                const __m512i x = _mm512_xor_si512(_mm512_set1_epi32((int)p[m][places[i]]),
                                                   _mm512_loadu_si512(weights + LANES * v));
                total = _mm512_add_epi32(total, _mm512_popcnt_epi32(x));
            }
            _mm512_storeu_si512(counts + (size_t)m * stride + LANES * v, total);
        }
    }
}

static void tile(const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, int used,
                 int32_t *counts, size_t stride) {
    if (used > LANES)
        tile_of(pixels, places, k, weights, 2, counts, stride);
    else
        tile_of(pixels, places, k, weights, 1, counts, stride);
}

static inline __mmask16 first(size_t n) { return n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff; }

static void compare(const int32_t *x, const int32_t *limits, int n, uint32_t *words) {
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        const __mmask16 low = _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(x + i), _mm512_loadu_si512(limits + i));
        const __mmask16 high =
            _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(x + i + 16), _mm512_loadu_si512(limits + i + 16));
        words[i / 32] = low | (uint32_t)high << 16;
    }
    for (; i < n; i += 32) {
        uint32_t word = 0;
        for (int j = 0; j < 32 && i + j < n; j += 16) {
            const __mmask16 mask = first((size_t)(n - i - j));
            const __m512i a = _mm512_maskz_loadu_epi32(mask, x + i + j);
            const __m512i b = _mm512_maskz_loadu_epi32(mask, limits + i + j);
            word |= (uint32_t)_mm512_mask_cmpgt_epi32_mask(mask, a, b) << j;
        }
        words[i / 32] = word;
    }
}

static void to_int8_512(const int32_t *x, int shift, int n, int32_t least, int32_t most, const float *multiplier,
                        const float *bias, int8_t *y) {
    const __m512i low = _mm512_set1_epi32(least), high = _mm512_set1_epi32(most);
    for (int i = 0; i < n; i += 16) {
        const __mmask16 mask = first((size_t)(n - i));
        __m512i v = _mm512_slli_epi32(_mm512_maskz_loadu_epi32(mask, x + i), (unsigned)shift);
        v = _mm512_max_epi32(_mm512_min_epi32(v, high), low);
        __m512 r = _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_maskz_loadu_ps(mask, multiplier + i));
        r = _mm512_add_ps(r, _mm512_maskz_loadu_ps(mask, bias + i));
        /* The second operand is what is left of NaN. */
        r = _mm512_min_ps(_mm512_max_ps(r, _mm512_set1_ps(-128.0f)), _mm512_set1_ps(127.0f));
        v = _mm512_cvttps_epi32(r);
        const __m512 rest = _mm512_sub_ps(r, _mm512_cvtepi32_ps(v));
        v = _mm512_add_epi32(v, _mm512_cvttps_epi32(_mm512_add_ps(rest, rest)));
        _mm512_mask_cvtepi32_storeu_epi8(y + i, mask, v);
    }
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        for (size_t j = 0; j < 32 && i + j < n; j += 16) {
            const __m512 a = _mm512_maskz_loadu_ps(first(n - i - j), x + i + j);
            word |= (uint32_t)_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ) << j;
        }
        words[i / 32] = word;
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

const Kernels avx512_kernels = {"avx512", PIXELS,  BLOCK,   LANES,      tile,
                                compare,  to_float, to_int8_512, pack_float, pack_int8};
#else
typedef int nothing_here;
#endif
