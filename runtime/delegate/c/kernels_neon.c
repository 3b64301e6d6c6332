/* NEON: a lane is an output channel; bits are counted byte by byte, and bytes summed up before they run over. */
#if defined(__ARM_NEON)
#include <arm_neon.h>

#include "epilogue.h"
#include "kernels.h"

#if defined(__aarch64__)
enum { VECTORS = 4 };
#else
enum { VECTORS = 2 }; /* 16 vector registers */
#endif
enum { PIXELS = 4, LANES = 4, BLOCK = VECTORS * LANES, BYTES_HOLD = 31 };

static void tile(const uint32_t *const *pixels, const int32_t *places, int k, const uint32_t *weights, int used,
                 int32_t *counts, size_t stride) {
    (void)used;
    uint32_t sums[PIXELS][BLOCK] = {{0}};
    const uint32_t *const p[PIXELS] = {pixels[0], pixels[1], pixels[2], pixels[3]};
    for (int i = 0; i < k;) {
        const int stop = k - i < BYTES_HOLD ? k : i + BYTES_HOLD;
        uint8x16_t bytes[PIXELS][VECTORS];
#pragma GCC unroll 4
        for (int m = 0; m < PIXELS; m++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) bytes[m][v] = vdupq_n_u8(0);
        for (; i < stop; i++) {
            const int32_t place = places[i];
            uint32x4_t w[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) w[v] = vld1q_u32(weights + (size_t)i * BLOCK + LANES * v);
#pragma GCC unroll 4
            for (int m = 0; m < PIXELS; m++) {
                const uint32x4_t x = vdupq_n_u32(p[m][place]);
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    bytes[m][v] = vaddq_u8(bytes[m][v], vcntq_u8(vreinterpretq_u8_u32(veorq_u32(x, w[v]))));
            }
        }
        for (int m = 0; m < PIXELS; m++)
            for (int v = 0; v < VECTORS; v++) {
                uint32_t *sum = sums[m] + LANES * v;
                vst1q_u32(sum, vpadalq_u16(vld1q_u32(sum), vpaddlq_u8(bytes[m][v])));
            }
    }
    for (int m = 0; m < PIXELS; m++)
        for (int v = 0; v < VECTORS; v++)
            vst1q_s32(counts + (size_t)m * stride + LANES * v, vreinterpretq_s32_u32(vld1q_u32(sums[m] + LANES * v)));
}

static inline uint32_t four_bits(uint32x4_t mask) {
    static const uint32_t places[4] = {1, 2, 4, 8};
    const uint32x4_t bits = vandq_u32(mask, vld1q_u32(places));
    const uint32x2_t both = vorr_u32(vget_low_u32(bits), vget_high_u32(bits));
    return vget_lane_u32(vpadd_u32(both, both), 0);
}

static void compare(const int32_t *x, const int32_t *limits, int n, uint32_t *words) {
    for (int i = 0; i < n; i += 32) {
        uint32_t word = 0;
        int j = 0;
        for (; j < 32 && i + j + 4 <= n; j += 4)
            word |= four_bits(vcgtq_s32(vld1q_s32(x + i + j), vld1q_s32(limits + i + j))) << j;
        for (; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] > limits[i + j]) << j;
        words[i / 32] = word;
    }
}

static void pack_float(const float *x, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 32) {
        uint32_t word = 0;
        size_t j = 0;
        for (; j < 32 && i + j + 4 <= n; j += 4)
            word |= four_bits(vcltq_f32(vld1q_f32(x + i + j), vdupq_n_f32(0.0f))) << j;
        for (; j < 32 && i + j < n; j++) word |= (uint32_t)(x[i + j] < 0.0f) << j;
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

const Kernels neon_kernels = {"neon",  PIXELS,   BLOCK,   LANES,      tile,
                              compare, to_float, to_int8, pack_float, pack_int8};
#else
typedef int nothing_here;
#endif
