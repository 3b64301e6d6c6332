/* What all kernels share. Plain C11; int8 tensors are NHWC; nothing here allocates or calls libm. */
#ifndef MG_COMMON_H
#define MG_COMMON_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_SAT) || (defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP)
#include <arm_acle.h>
#endif
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

#define MG_INLINE static inline __attribute__((always_inline, unused))
/* A kernel whose caller passes places in the arena must not be specialised for them: where gcc (12, at -O2) knows both
   addresses, it writes them as differences from 0, later takes that for an access through a null pointer, concludes that
   nothing behind it happens, and drops the call. Nothing is known of arguments of noipa functions, which gcc has from
   version 8 on; before, noclone keeps them from being put in place. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define MG_KERNEL static __attribute__((noipa, unused))
#elif defined(__GNUC__) && !defined(__clang__)
#define MG_KERNEL static __attribute__((noinline, noclone, unused))
#else
#define MG_KERNEL static __attribute__((noinline, unused))
#endif

/* Words and halfwords that lie where bytes, or each other, do. */
typedef uint32_t __attribute__((may_alias)) mg_word;
typedef int16_t __attribute__((may_alias)) mg_half;

MG_INLINE int32_t mg_min(int32_t a, int32_t b) { return a < b ? a : b; }
MG_INLINE int32_t mg_max(int32_t a, int32_t b) { return a > b ? a : b; }

MG_INLINE int8_t mg_clamp(int32_t x, int32_t low, int32_t high)
{
#if defined(__ARM_FEATURE_SAT)
    if (__builtin_constant_p(low + high) && low == -128 && high == 127)
        return (int8_t)__ssat(x, 8);
#endif
    return (int8_t)(x < low ? low : x > high ? high : x);
}

#if defined(__ARM_FEATURE_MVE)
MG_INLINE void mg_copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 16; n -= 16, to += 16, from += 16)
        vstrbq_s8(to, vldrbq_s8(from));
    if (n > 0) {
        const mve_pred16_t some = vctp8q((uint32_t)n);
        vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
    }
}

MG_INLINE void mg_fill(int8_t *to, int32_t value, int32_t n)
{
    const int8x16_t filled = vdupq_n_s8((int8_t)value);
    for (; n >= 16; n -= 16, to += 16)
        vstrbq_s8(to, filled);
    if (n > 0)
        vstrbq_p_s8(to, filled, vctp8q((uint32_t)n));
}
#else
MG_INLINE void mg_copy(int8_t *to, const int8_t *from, int32_t n) { memcpy(to, from, (size_t)n); }
MG_INLINE void mg_fill(int8_t *to, int32_t value, int32_t n) { memset(to, value, (size_t)n); }
#endif

MG_INLINE uint32_t mg_load(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Right shifts of negative values are arithmetic in gcc and clang, which the reference relies on as well. */
MG_INLINE int32_t mg_doubling_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

MG_INLINE int32_t mg_rounding_shift(int32_t x, int32_t exponent)
{
    const int64_t half = exponent > 0 ? ((int64_t)1 << (exponent - 1)) - (x < 0) : 0;
    return (int32_t)((x + half) >> exponent);
}

/* The reference's rescaling, rounded twice. */
MG_INLINE int32_t mg_rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t high = mg_doubling_high((int32_t)((uint32_t)x << left), multiplier);
    return mg_rounding_shift(high, shift > 0 ? 0 : -shift);
}

/* x * multiplier, which is not negative. Armv6-M multiplies to 32 bits: from halves it takes fewer instructions than the
   64-bit multiplication of its runtime library. */
#if defined(__ARM_ARCH_6M__) || defined(MG_MULTIPLY_32)
MG_INLINE int64_t mg_product(int32_t x, int32_t multiplier)
{
    const uint32_t x_low = (uint32_t)x & 0xffffu, low = (uint32_t)multiplier & 0xffffu;
    const int32_t x_high = x >> 16, high = multiplier >> 16;
    const uint32_t first = x_low * low;
    const uint32_t second = x_low * (uint32_t)high + (first >> 16);
    const int32_t third = (int32_t)(second & 0xffffu) + x_high * (int32_t)low;
    const int32_t upper = x_high * high + (int32_t)(second >> 16) + (third >> 16);
    return (int64_t)(((uint64_t)(uint32_t)upper << 32) | ((uint32_t)third << 16) | (first & 0xffffu));
}
#else
MG_INLINE int64_t mg_product(int32_t x, int32_t multiplier) { return (int64_t)x * multiplier; }
#endif

/* sum + x * by: gcc (12) multiplies by signed constants as if they were longer. */
MG_INLINE int64_t mg_multiply_add(int64_t sum, int32_t x, int32_t by)
{
#if defined(__ARM_FEATURE_SAT)
    __asm__("smlal %Q0, %R0, %1, %2" : "+r"(sum) : "r"(x), "r"(by));
    return sum;
#else
    return sum + (int64_t)x * by;
#endif
}

/* One channel: (x * multiplier + offset) >> shift, found at generation time to equal the reference. */
typedef struct {
    int32_t multiplier;
    uint32_t offset_low;
    int32_t offset_high;
} mg_affine;

#if defined(__ARM_ARCH_6M__)
MG_KERNEL /* Its registers are worth more than the call. */
#else
MG_INLINE
#endif
int32_t mg_apply(int32_t x, const mg_affine *by, int32_t shift)
{
    const int64_t offset = (int64_t)(((uint64_t)(uint32_t)by->offset_high << 32) | by->offset_low);
    return (int32_t)((mg_product(x, by->multiplier) + offset) >> shift);
}

/* One channel of the reference itself, where no such offset exists. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t shift;
} mg_exact;

/* Channel c by its entry of scales: mg_exact, number being the zero point, or mg_affine, number being the shift. */
MG_INLINE int8_t mg_scaled(int32_t sum, const void *scales, int32_t c, int32_t exact, int32_t number, int32_t low,
                           int32_t high)
{
    if (!exact)
        return mg_clamp(mg_apply(sum, (const mg_affine *)scales + c, number), low, high);
    const mg_exact *const by = (const mg_exact *)scales + c;
    return mg_clamp(mg_rescale(by->bias + sum, by->multiplier, by->shift) + number, low, high);
}

/* What lies behind the scales of n channels. */
MG_INLINE const int8_t *mg_behind(const void *scales, int32_t n, int32_t exact)
{
    return (const int8_t *)scales + n * (int32_t)(exact ? sizeof(mg_exact) : sizeof(mg_affine));
}

typedef struct {
    int32_t in_h, in_w, in_c, out_h, out_w, out_c, k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
    int32_t ring; /* input rows held: row y lies at y modulo ring */
    int32_t padding; /* value of padding: the input's zero point */
} mg_window;

MG_INLINE const int8_t *mg_input_row(const mg_window s, const int8_t *in, int32_t y)
{
    return in + (s.ring < s.in_h ? y % s.ring : y) * s.in_w * s.in_c;
}

#endif
