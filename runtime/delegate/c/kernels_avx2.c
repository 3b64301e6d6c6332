/* AVX2: a lane is an output channel. There is no popcount of vectors: a table of 16 entries counts the bits of half bytes.
 *
 * Full adders come before it: of four words one vector is counted, with weight 4, and what is left stays in `ones` and
 * `twos`. With that a word takes 6.5 operations instead of 8. */
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

enum { PIXELS = 2, BLOCK = 8, BYTES_HOLD = 31 };

static inline __attribute__((always_inline)) __m256i count_bytes(__m256i x) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2,
                                           3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
                           _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

static inline __attribute__((always_inline)) __m256i widen(__m256i bytes) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}

/* *sum becomes the low bits of *sum + x + y; returned are the high ones. */
static inline __attribute__((always_inline)) __m256i add_bits(__m256i *sum, __m256i x, __m256i y) {
    const __m256i t = _mm256_xor_si256(*sum, x);
    const __m256i carry = _mm256_or_si256(_mm256_and_si256(*sum, x), _mm256_and_si256(t, y));
    *sum = _mm256_xor_si256(t, y);
    return carry;
}

static void tile(const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, int used,
                 int32_t *counts, size_t stride) {
    (void)used;
    __m256i ones[PIXELS], twos[PIXELS], fours[PIXELS], bytes[PIXELS];
    const uint32_t *const p[PIXELS] = {pixels[0], pixels[1]};
    for (int m = 0; m < PIXELS; m++) ones[m] = twos[m] = fours[m] = bytes[m] = _mm256_setzero_si256();
    int i = 0, held = 0;
#define X(m, j) \
    _mm256_xor_si256(_mm256_set1_epi32((int)p[m][places[i + (j)]]), \
                     _mm256_loadu_si256((const __m256i *)(weights + (size_t)(i + (j)) * BLOCK)))
    for (; i + 3 < k; i += 4) {
#pragma GCC unroll 2
        for (int m = 0; m < PIXELS; m++) {
            const __m256i first = add_bits(&ones[m], X(m, 0), X(m, 1)), second = add_bits(&ones[m], X(m, 2), X(m, 3));
            bytes[m] = _mm256_add_epi8(bytes[m], count_bytes(add_bits(&twos[m], first, second)));
        }
        if (++held == BYTES_HOLD) {
            for (int m = 0; m < PIXELS; m++) {
                fours[m] = _mm256_add_epi32(fours[m], widen(bytes[m]));
                bytes[m] = _mm256_setzero_si256();
            }
            held = 0;
        }
    }
    for (int m = 0; m < PIXELS; m++) {
        __m256i rest = count_bytes(ones[m]); /* and three words more at most: 32 of 255 */
        for (int j = 0; i + j < k; j++) rest = _mm256_add_epi8(rest, count_bytes(X(m, j)));
        __m256i total = _mm256_slli_epi32(_mm256_add_epi32(fours[m], widen(bytes[m])), 2);
        total = _mm256_add_epi32(total, _mm256_slli_epi32(widen(count_bytes(twos[m])), 1));
        total = _mm256_add_epi32(total, widen(rest));
        _mm256_storeu_si256((__m256i *)(counts + (size_t)m * stride), total);
    }
#undef X
}

static void compare(const int32_t *x, const int32_t *limits, int n, uint32_t *words) {
    for (int i = 0; i < n; i += 32) {
        uint32_t word = 0;
        int j = 0;
        for (; j < 32 && i + j + 8 <= n; j += 8) {
            const __m256i a = _mm256_loadu_si256((const __m256i *)(x + i + j));
            const __m256i b = _mm256_loadu_si256((const __m256i *)(limits + i + j));
            word |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))) << j;
        }
        for (; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] > limits[i + j]) << j;
        words[i / 32] = word;
    }
}

static void to_int8_256(const int32_t *x, int shift, int n, int32_t least, int32_t most, const float *multiplier,
                        const float *bias, int8_t *y) {
    const __m256i low = _mm256_set1_epi32(least), high = _mm256_set1_epi32(most);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)(x + i)), shift);
        v = _mm256_max_epi32(_mm256_min_epi32(v, high), low);
        __m256 r = _mm256_mul_ps(_mm256_cvtepi32_ps(v), _mm256_loadu_ps(multiplier + i));
        r = _mm256_add_ps(r, _mm256_loadu_ps(bias + i));
        /* The second operand is what is left of NaN. */
        r = _mm256_min_ps(_mm256_max_ps(r, _mm256_set1_ps(-128.0f)), _mm256_set1_ps(127.0f));
        v = _mm256_cvttps_epi32(r);
        const __m256 rest = _mm256_sub_ps(r, _mm256_cvtepi32_ps(v));
        v = _mm256_add_epi32(v, _mm256_cvttps_epi32(_mm256_add_ps(rest, rest)));
        const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storel_epi64((__m128i *)(y + i), _mm_packs_epi16(half, half));
    }
    to_int8(x + i, shift, n - i, least, most, multiplier + i, bias + i, y + i);
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

const Kernels avx2_kernels = {"avx2",  PIXELS,   BLOCK,   BLOCK,      tile,
                              compare, to_float, to_int8_256, pack_float, pack_int8};
#else
typedef int nothing_here;
#endif
