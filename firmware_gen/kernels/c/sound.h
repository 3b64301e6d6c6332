/* Log-mel features of 16-bit samples: core/sounds/log_mel.py in C, bit for bit. Whole numbers only; all memory is the
   caller's. */
#ifndef MG_SOUND_H
#define MG_SOUND_H

#include "mg_common.h"

/* The tables of core/sounds/tables.py. */
typedef struct {
    const int32_t *hann;
    const int32_t *cosines;
    const int16_t *corners;
    const uint16_t *weights;
    const uint16_t *logarithms;
    uint64_t floor;
    int32_t window, step, fft, bands, extra, dropped, exponent;
} mg_front_end;

/* The last samples, in a ring of as many as a window has, and what is still to come before the next row. */
typedef struct {
    int16_t *ring;
    int32_t next;
    int32_t missing;
} mg_heard;

MG_INLINE void mg_hear_anew(const mg_front_end *f, mg_heard *heard)
{
    heard->next = 0;
    heard->missing = f->window;
}

/* 1 if this sample completes a row. */
MG_INLINE int32_t mg_hear(const mg_front_end *f, mg_heard *heard, int16_t sample)
{
    heard->ring[heard->next] = sample;
    if (++heard->next == f->window)
        heard->next = 0;
    if (--heard->missing > 0)
        return 0;
    heard->missing = f->step;
    return 1;
}

#if defined(__ARM_ARCH_6M__) || defined(MG_MULTIPLY_32)
MG_KERNEL int64_t mg_wide(int32_t a, int32_t b) { return b < 0 ? -mg_product(a, -b) : mg_product(a, b); }
#else
MG_INLINE int64_t mg_wide(int32_t a, int32_t b) { return (int64_t)a * b; }
#endif

MG_INLINE int32_t mg_rounded(int64_t x, int32_t bits)
{
    return (int32_t)((x + ((int64_t)1 << (bits - 1))) >> bits);
}

/* Of k parts of 1 / fft of a turn, less than half a turn in all. */
MG_INLINE int32_t mg_cosine(const mg_front_end *f, int32_t k)
{
    const int32_t quarter = f->fft >> 2;
    return k > quarter ? -f->cosines[2 * quarter - k] : f->cosines[k];
}

MG_INLINE int32_t mg_sine(const mg_front_end *f, int32_t k)
{
    const int32_t quarter = f->fft >> 2;
    return f->cosines[k > quarter ? k - quarter : quarter - k];
}

/* The weighted window into places whose order is reversed by bits: pairs of samples are complex numbers. */
MG_INLINE void mg_place(const mg_front_end *f, const mg_heard *heard, int32_t *work)
{
    const int32_t pairs = f->fft >> 1;
    int32_t from = heard->next, place = 0;
    for (int32_t n = 0; n < f->fft; n++) {
        int32_t value = 0;
        if (n < f->window) {
            const int32_t weight = f->hann[2 * n > f->window ? f->window - n : n];
            value = mg_rounded(mg_wide(heard->ring[from], weight), 30 - f->extra);
            if (++from == f->window)
                from = 0;
        }
        work[2 * place + (n & 1)] = value;
        if (n & 1) {
            int32_t bit = pairs >> 1;
            for (; (place & bit) != 0; bit >>= 1)
                place ^= bit;
            place |= bit;
        }
    }
}

MG_INLINE void mg_transform(const mg_front_end *f, int32_t *work)
{
    const int32_t pairs = f->fft >> 1;
    for (int32_t half = 1; half < pairs; half *= 2) {
        const int32_t turn = pairs / half; /* Of the table's entries, from one butterfly to the next. */
        for (int32_t k = 0; k < half; k++) {
            const int32_t cosine = mg_cosine(f, k * turn), sine = mg_sine(f, k * turn);
            for (int32_t at = k; at < pairs; at += 2 * half) {
                int32_t *const a = work + 2 * at, *const b = a + 2 * half;
                int32_t re = b[0], im = b[1];
                if (k > 0) {
                    re = mg_rounded(mg_wide(b[0], cosine) + mg_wide(b[1], sine), 30);
                    im = mg_rounded(mg_wide(b[1], cosine) - mg_wide(b[0], sine), 30);
                }
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
        }
    }
}

/* The squared magnitude of bin k of the real samples' transform. */
MG_INLINE uint64_t mg_square(const mg_front_end *f, const int32_t *work, int32_t k)
{
    const int32_t *const here = work + 2 * k, *const there = work + f->fft - 2 * k;
    const int32_t cosine = mg_cosine(f, k), sine = mg_sine(f, k);
    const int64_t one = (int64_t)1 << 30;
    const int32_t odd_re = here[1] + there[1], odd_im = there[0] - here[0];
    const int32_t re = mg_rounded((here[0] + there[0]) * one + mg_wide(odd_re, cosine) + mg_wide(odd_im, sine), 31);
    const int32_t im = mg_rounded((here[1] - there[1]) * one + mg_wide(odd_im, cosine) - mg_wide(odd_re, sine), 31);
    const uint64_t square = (uint64_t)mg_wide(re, re) + (uint64_t)mg_wide(im, im);
    return f->dropped == 0 ? square : (square + ((uint64_t)1 << (f->dropped - 1))) >> f->dropped;
}

/* The natural logarithm of a sum above 0, in 1 / 1024. */
MG_INLINE int16_t mg_feature(const mg_front_end *f, uint64_t sum, int32_t to_nats)
{
    int32_t exponent = 63;
    while ((sum >> 63) == 0) {
        sum <<= 1;
        exponent--;
    }
    const uint32_t index = (uint32_t)(sum >> 55) & 0xffu, fraction = (uint32_t)(sum >> 39) & 0xffffu;
    const uint32_t low = f->logarithms[index], difference = (f->logarithms[index + 1] - low) & 0xffffu;
    const int32_t part = (int32_t)(low + ((difference * fraction + 0x8000u) >> 16));
    const int32_t nats = mg_rounded((int64_t)((exponent - f->exponent) * 65536 + part) * to_nats, 31);
    return (int16_t)mg_min(32767, mg_max(-32768, nats));
}

/* One row of the last window of samples. work: fft numbers; row: as many as there are bands. */
MG_KERNEL void mg_log_mel(const mg_front_end *f, const mg_heard *heard, int32_t to_nats, int32_t *work, int16_t *row)
{
    mg_place(f, heard, work);
    mg_transform(f, work);
    const uint16_t *weight = f->weights;
    uint64_t left = 0; /* What the band whose tip is the left corner has by its rising side. */
    for (int32_t i = 0; i <= f->bands; i++) {
        uint64_t whole = 0, rising = 0;
        for (int32_t k = f->corners[i]; k < f->corners[i + 1]; k++) {
            const uint64_t square = mg_square(f, work, k);
            whole += square;
            rising += square * *weight++;
        }
        if (i > 0)
            row[i - 1] = mg_feature(f, left + (whole << 16) - rising + f->floor, to_nats);
        left = rising;
    }
}

/* A network's input of features: stored = base + sign * (how many of the thresholds, which rise, are not above). */
typedef struct {
    const int16_t *thresholds;
    int32_t count;
    int32_t base;
    int32_t sign;
} mg_steps;

MG_INLINE int8_t mg_stored(const mg_steps *steps, int16_t feature)
{
    int32_t low = 0, high = steps->count;
    while (low < high) {
        const int32_t middle = (low + high) >> 1;
        if (steps->thresholds[middle] <= feature)
            low = middle + 1;
        else
            high = middle;
    }
    return (int8_t)(steps->base + steps->sign * low);
}

#endif
