/* NEON: a lane is an output channel; bits are counted byte by byte, and bytes summed up before they run over. */
#if defined(__ARM_NEON)
#include <arm_neon.h>
#include <string.h>

#include "epilogue.h"
#include "kernels.h"

#if defined(__aarch64__)
enum { VECTORS = 4 };
#else
enum { VECTORS = 2 }; /* 16 vector registers */
#endif
enum { PIXELS = 4, LANES = 4, STRIP = VECTORS * LANES, BLOCK = 32, BYTES_HOLD = 31 };

static void lay(const uint32_t *filter, int k, void *weights) { lay_strips(filter, k, BLOCK, STRIP, weights); }

/* Counts of PIXELS pixels and the channels of a strip. */
static inline __attribute__((always_inline)) void tile(const uint8_t *const *pixels, const int32_t *places, int k,
                                                       const uint32_t *weights, uint32x4_t sums[PIXELS][VECTORS]) {
    const uint8_t *const p[PIXELS] = {pixels[0], pixels[1], pixels[2], pixels[3]};
    for (int m = 0; m < PIXELS; m++)
        for (int v = 0; v < VECTORS; v++) sums[m][v] = vdupq_n_u32(0);
    for (int i = 0; i < k;) {
        const int stop = k - i < BYTES_HOLD ? k : i + BYTES_HOLD;
        uint8x16_t bytes[PIXELS][VECTORS];
#pragma GCC unroll 4
        for (int m = 0; m < PIXELS; m++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) bytes[m][v] = vdupq_n_u8(0);
        for (; i < stop; i++, weights += STRIP) {
            const int32_t place = places[i];
            uint32x4_t w[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) w[v] = vld1q_u32(weights + LANES * v);
#pragma GCC unroll 4
            for (int m = 0; m < PIXELS; m++) {
                const uint32x4_t x = vld1q_dup_u32((const uint32_t *)(const void *)(p[m] + place));
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    bytes[m][v] = vaddq_u8(bytes[m][v], vcntq_u8(vreinterpretq_u8_u32(veorq_u32(x, w[v]))));
            }
        }
        for (int m = 0; m < PIXELS; m++)
            for (int v = 0; v < VECTORS; v++) sums[m][v] = vpadalq_u16(sums[m][v], vpaddlq_u8(bytes[m][v]));
    }
}

static void sums(const Patch *patch, int32_t *counts) {
    for (int m = 0; m < patch->count; m += PIXELS, counts += PIXELS * BLOCK)
        for (int o = 0; o < patch->used; o += STRIP) {
            uint32x4_t total[PIXELS][VECTORS];
            tile(patch->pixels + m, patch->places, patch->k, (const uint32_t *)patch->weights + (size_t)o * (size_t)patch->k,
                 total);
            for (int i = 0; i < PIXELS; i++)
                for (int v = 0; v < VECTORS; v++)
                    vst1q_s32(counts + i * BLOCK + o + LANES * v, vreinterpretq_s32_u32(total[i][v]));
        }
}

static inline uint32_t four_bits(uint32x4_t mask) {
    static const uint32_t places[4] = {1, 2, 4, 8};
    const uint32x4_t bits = vandq_u32(mask, vld1q_u32(places));
    const uint32x2_t both = vorr_u32(vget_low_u32(bits), vget_high_u32(bits));
    return vget_lane_u32(vpadd_u32(both, both), 0);
}

static void bits(const Patch *patch, const int32_t *kinds, const int32_t *limits, uint32_t *to, size_t stride) {
    const uint32_t there = patch->used < BLOCK ? (1u << patch->used) - 1 : ~0u;
    for (int m = 0; m < patch->count; m += PIXELS) {
        int32_t counts[PIXELS * BLOCK];
        Patch one = *patch;
        one.pixels += m;
        one.count = PIXELS;
        sums(&one, counts);
        for (int i = 0; i < PIXELS && m + i < patch->count; i++) {
            const int32_t *limit = limits + kinds[m + i];
            uint32_t word = 0;
            for (int o = 0; o < patch->used; o += LANES)
                word |= four_bits(vcgtq_s32(vld1q_s32(counts + i * BLOCK + o), vld1q_s32(limit + o))) << o;
            to[(size_t)(m + i) * stride] = word & there;
        }
    }
}

static void to_float(const int32_t *counts, int count, int used, const Epilogue *e, float *y, size_t stride) {
    to_float_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

static void to_int8(const int32_t *counts, int count, int used, const Epilogue *e, int8_t *y, size_t stride) {
    to_int8_in_blocks(BLOCK, counts, count, used, e, y, stride);
}

/* As integers: NEON of 32 bits, and a thread that flushes to zero, take the smallest negative numbers for 0. */
static inline uint32x4_t negative(uint32x4_t x) {
    return vandq_u32(vcgtq_u32(x, vdupq_n_u32(0x80000000u)), vcleq_u32(x, vdupq_n_u32(0xff800000u)));
}

static inline uint32_t negative_one(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits > 0x80000000u && bits <= 0xff800000u;
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        size_t j = 0;
        for (; j < 32 && i + j + 4 <= n; j += 4)
            word |= four_bits(negative(vreinterpretq_u32_f32(vld1q_f32(x + i + j)))) << j;
        for (; j < 32 && i + j < n; j++) word |= negative_one(x[i + j]) << j;
        words[i / 32] = word;
    }
}

static inline uint32_t sixteen_bits(uint8x16_t mask) {
    static const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8(mask, vld1q_u8(places));
    uint8x8_t sum = vpadd_u8(vget_low_u8(bits), vget_high_u8(bits));
    sum = vpadd_u8(sum, sum);
    sum = vpadd_u8(sum, sum);
    return (uint32_t)vget_lane_u8(sum, 0) | (uint32_t)vget_lane_u8(sum, 1) << 8;
}

static void pack_int8(const int8_t *x, size_t n, int32_t zero_point, uint32_t *words) {
    const int8x16_t limit = vdupq_n_s8((int8_t)zero_point);
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        size_t j = 0;
        for (; j < 32 && i + j + 16 <= n; j += 16) word |= sixteen_bits(vcltq_s8(vld1q_s8(x + i + j), limit)) << j;
        for (; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] < zero_point) << j;
        words[i / 32] = word;
    }
}

const Kernels neon_kernels = {.name = "neon",
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
