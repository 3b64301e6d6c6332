/* DEPTHWISE_CONV_2D for cores with the Armv7E-M DSP instructions: in bands, as in depthwise.h, and one function for all
   shapes.

   A plane holds one channel's rows of a band, widened to 16 bits with their padding. Two neighbours in a row make one word;
   the words of all rows at one place lie side by side, so that LDM loads a column of them. */
#ifndef MG_DEPTHWISE_DSP_H
#define MG_DEPTHWISE_DSP_H

#include "mg_affine_dsp.h"
#include "mg_widen_dsp.h"

/* What the assembly of 3x3 kernels reads: what rescales the channel, then in bytes what a line of outputs takes of the
   plane without an odd last one, from a line's rows to the next one's, there from a line's end, from a line's end to the
   next one in the output, between outputs. */
typedef struct {
    const void *scale;
    int32_t length, step, back, skip, odd, pixel, lines;
} mg_three_lines;

typedef void mg_three(const uint32_t *plane, const mg_three_lines *by, int8_t *out, const int8_t *w);

/* Steps between the places of lines and of pixels are in bytes. Of an input row so many pixels are read, the first of them
   to the upper half of a word if they lead, so many words behind its beginning. A band has so many lines of outputs, the
   plane so many rows and words a row, which begin as fill; weights so many words of scratch in front of it. Each input
   channel has so many outputs, and what rescales one takes so many bytes. */
typedef struct mg_depthwise_shape mg_depthwise_shape;
typedef void mg_any(const mg_depthwise_shape *d, const uint32_t *plane, uint32_t *spread, const int8_t *w,
                    const void *scales, int32_t c, int8_t *out, int32_t lines, int32_t spreads);

/* Lines are computed by the assembly, or, where there is none for the kernel, by the function for any. */
typedef struct {
    mg_three *three;
    mg_any *any;
    mg_widen_plane *widen;
} mg_lines;

struct mg_depthwise_shape {
    int32_t in_line, in_pixel, out_line, out_pixel;
    const mg_lines *by;
    uint16_t in_h, out_h, out_w, out_c, each, k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, ring;
    uint16_t pixels, margin, band, rows, words, weights;
    int16_t pad_h, fill, number;
    uint8_t leads, exact, scale_bytes;
    int8_t low, high;
};

MG_INLINE uint32_t mg_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

MG_INLINE void mg_clamp_lines(const mg_depthwise_shape *d, int8_t *out, int32_t lines)
{
    for (int32_t y = 0; y < lines; y++)
        for (int32_t x = 0; x < d->out_w; x++) {
            int8_t *const at = out + y * d->out_line + x * d->out_pixel;
            *at = mg_clamp(*at, d->low, d->high);
        }
}

/* Column by column of two taps: the words of the kernel's rows for an output at a word's beginning, and for the one beside,
   which begins in the middle of a word where the stride is odd. */
MG_INLINE void mg_spread_weights(const mg_depthwise_shape *d, const int8_t *w, uint32_t *spread, int32_t columns)
{
    const int32_t k_h = d->k_h, k_w = d->k_w, dilation = d->dilation_w, odd = d->stride_w % 2;
    for (int32_t i = 0; i < 2 * columns * k_h; i++)
        spread[i] = 0;
    mg_half *to = (mg_half *)spread;
    for (int32_t ky = 0; ky < k_h; ky++, to += 4)
        for (int32_t kx = 0, at = 0; kx < k_w; kx++, at += dilation) {
            const int16_t v = *w++;
            to[(at >> 1) * 4 * k_h + (at & 1)] = v;
            to[((at + odd) >> 1) * 4 * k_h + ((at + odd) & 1) + 2] = v;
        }
}

/* What four outputs side by side are summed from, in bytes: from column to column of the plane, from row to row of a column,
   from the first output's words to the others'. */
typedef struct {
    int32_t columns, height, column, row, second, third, fourth;
} mg_reach;

/* Registers: r0 and r1 places in the plane and in the weights, r2 and r3 columns and rows left, r4 to r7 sums, r8 to r10 the
   others' offsets, lr from row to row, r11 and r12 words. With stride 1 the second begins in the first's word: then r8 and
   r10 are free, too. On the stack lie the kernel's height, what is between a column's end and the next one, where sums go. */
static __attribute__((naked, noinline, unused)) void mg_four_sums(const uint32_t *at __attribute__((unused)),
                                                                  const uint32_t *w __attribute__((unused)),
                                                                  const mg_reach *by __attribute__((unused)),
                                                                  int32_t *sums __attribute__((unused)))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r3-r11, lr}\n\t"
                     "sub sp, #8\n\t"
                     "ldm r2, {r2, r4-r9}\n\t"
                     "mul r11, r4, r6\n\t"
                     "sub r11, r5, r11\n\t"
                     "strd r4, r11, [sp]\n\t"
                     "mov lr, r6\n\t"
                     "mov r10, r9\n\t"
                     "mov r9, r8\n\t"
                     "mov r8, r7\n\t"
                     "movs r4, #0\n\t"
                     "movs r5, #0\n\t"
                     "movs r6, #0\n\t"
                     "movs r7, #0\n\t"
                     "cmp r8, #0\n\t"
                     "beq 3f\n\t"
                     "1: ldr r3, [sp]\n\t"
                     "2: ldr r12, [r1], #4\n\t"
                     "ldr.w r11, [r0]\n\t"
                     "smlad r4, r11, r12, r4\n\t"
                     "ldr.w r11, [r0, r9]\n\t"
                     "smlad r6, r11, r12, r6\n\t"
                     "ldr r12, [r1], #4\n\t"
                     "ldr.w r11, [r0, r8]\n\t"
                     "smlad r5, r11, r12, r5\n\t"
                     "ldr.w r11, [r0, r10]\n\t"
                     "smlad r7, r11, r12, r7\n\t"
                     "add r0, lr\n\t"
                     "subs r3, #1\n\t"
                     "bne 2b\n\t"
                     "ldr.w r11, [sp, #4]\n\t"
                     "add r0, r11\n\t"
                     "subs r2, #1\n\t"
                     "bne 1b\n\t"
                     "b 5f\n\t"
                     "3: ldr r3, [sp]\n\t"
                     "4: ldr.w r11, [r0]\n\t"
                     "ldr.w r10, [r0, r9]\n\t"
                     "ldrd r8, r12, [r1], #8\n\t"
                     "smlad r4, r11, r8, r4\n\t"
                     "smlad r5, r11, r12, r5\n\t"
                     "smlad r6, r10, r8, r6\n\t"
                     "smlad r7, r10, r12, r7\n\t"
                     "add r0, lr\n\t"
                     "subs r3, #1\n\t"
                     "bne 4b\n\t"
                     "ldr.w r11, [sp, #4]\n\t"
                     "add r0, r11\n\t"
                     "subs r2, #1\n\t"
                     "bne 3b\n\t"
                     "5: ldr r3, [sp, #8]\n\t"
                     "stm r3!, {r4-r7}\n\t"
                     "add sp, #12\n\t"
                     "pop {r4-r11, pc}");
}

MG_KERNEL void mg_any_by_any(const mg_depthwise_shape *d, const uint32_t *plane, uint32_t *spread, const int8_t *w,
                             const void *scales, int32_t c, int8_t *out, int32_t lines, int32_t spreads)
{
    const int32_t columns = ((d->k_w - 1) * d->dilation_w + 3) / 2, word = d->rows * 4, pixel = d->out_pixel;
    const int32_t second = (d->stride_w >> 1) * word, third = d->stride_w * word, turn = 2 * d->stride_w * d->rows;
    const int32_t exact = d->exact, number = d->number, low = d->low, high = d->high;
    const mg_reach by = {columns, d->k_h, word, d->dilation_h * 4, second, third, second + third};
    if (spreads)
        mg_spread_weights(d, w, spread, columns);
    for (int32_t y = 0; y < lines; y++, plane += d->stride_h, out += d->out_line) {
        const uint32_t *at = plane;
        int8_t *to = out;
        for (int32_t left = d->out_w; left > 0; left -= 4, at += turn) {
            int32_t sums[4];
            mg_four_sums(at, spread, &by, sums);
            const int32_t count = mg_min(left, 4);
            for (int32_t i = 0; i < count; i++, to += pixel) {
                if (exact)
                    *to = mg_scaled(sums[i], scales, c, 1, number, low, high);
                else
                    *to = mg_clamp(mg_scaled_dsp(sums[i], (const mg_affine *)scales + c, number), low, high);
            }
        }
    }
}

/* What a band of lines is computed from: rows first to last - 1 of the plane are new, of which those from begin on, so
   many, are in the image, at an offset there. */
typedef struct {
    int32_t lines, first, last, begin, count, offset;
} mg_band;

MG_KERNEL void mg_band_at(const mg_depthwise_shape *d, int32_t line, int32_t begin, int32_t end, mg_band *b)
{
    const int32_t stride = d->stride_h, top = line * stride - d->pad_h, span = (d->k_h - 1) * d->dilation_h + 1;
    const int32_t lines = mg_min(d->band, end - line), last = (lines - 1) * stride + span;
    const int32_t first = line > begin ? mg_max(span - stride, 0) : 0, from = mg_min(mg_max(first, -top), last);
    *b = (mg_band){lines, first, last, from, mg_max(mg_min(last, d->in_h - top) - from, 0), top + from};
}

/* Sides of rows hold padding already, and so do rows outside the image if the plane holds it whole. */
MG_KERNEL void mg_fill_rows(const mg_depthwise_shape *d, const mg_band *b, uint32_t *plane)
{
    const int32_t words = d->words, rows = d->rows;
    const uint32_t fill = mg_pair(d->fill, d->fill);
    for (int32_t k = b->first; k < b->last; k++)
        for (int32_t i = 0; (k < b->begin || k >= b->begin + b->count) && i < words; i++)
            plane[i * rows + k] = fill;
}

MG_INLINE void mg_fill_outside(const mg_depthwise_shape *d, const mg_band *b, uint32_t *plane)
{
    if (b->count < b->last - b->first && d->band < d->out_h)
        mg_fill_rows(d, b, plane);
}

/* What a band's first rows have in common with those before. */
MG_KERNEL void mg_move_rows(const mg_depthwise_shape *d, const mg_band *b, uint32_t *plane)
{
    const int32_t rows = d->rows, count = b->first;
    uint32_t *const end = plane + d->words * rows;
    const int32_t apart = d->band * d->stride_h;
    /* Of 3x3 kernels it is one row or two; the second is written anew where it is one. */
    for (; d->by->three && plane < end; plane += rows) {
        const uint32_t first = plane[apart], second = plane[apart + 1];
        plane[0] = first;
        plane[1] = second;
    }
    for (; plane < end; plane += rows)
        for (int32_t k = 0; k < count; k++)
            plane[k] = plane[apart + k];
}

MG_INLINE void mg_fill_plane(const mg_depthwise_shape *d, const mg_widening *by, const mg_band *b, const int8_t *in,
                             uint32_t *plane)
{
    mg_fill_outside(d, b, plane);
    uint32_t *const to = plane + b->begin + d->margin;
    /* Rows of a ring lie in two runs, those of an image in one. */
    const int32_t from = b->offset % d->ring, run = mg_min(b->count, d->ring - from);
    if (run > 0)
        d->by->widen(in + from * d->in_line, to, by, run);
    if (run < b->count)
        d->by->widen(in, to + run, by, b->count - run);
}

/* Output pixels first to last - 1, which are whole lines; of an image that was turned they are all. */
MG_KERNEL void mg_depthwise_dsp(const mg_depthwise_shape *d, const int8_t *in, int8_t *out, const void *scales,
                                void *scratch, int32_t first, int32_t last)
{
    const int32_t begin = first / d->out_w, end = last / d->out_w;
    uint32_t *const spread = scratch, *const plane = spread + d->weights;
    /* Assembly packs weights anew for each band; else it pays to widen the band anew for each output channel. */
    const int32_t each = d->each, times = d->by->three ? each : 1, taps = d->k_h * d->k_w;
    const int32_t length = (d->stride_w == 1 ? d->out_w / 2 : d->out_w) * d->rows * 4, step = d->stride_h * 4;
    const mg_widening widening = {d->in_pixel, d->rows * 4, d->in_line, d->leads, d->pixels - d->leads};
    mg_three_lines by = {scales, length, step, step - length, d->out_line - d->out_w * d->out_pixel, d->out_w & 1,
                         d->out_pixel, 0};
    mg_band b;
    mg_band_at(d, begin, begin, end, &b);
    for (int32_t i = 0; i < d->rows * d->words; i++)
        plane[i] = mg_pair(d->fill, d->fill);
    const int8_t *const w = (const int8_t *)scales + d->out_c * d->scale_bytes;
    if (d->by->three && each == 1 && d->band >= end - begin && d->ring == d->in_h && d->low == -128 && d->high == 127) {
        /* One band has all lines of every channel: what is around the rows stays as it is. */
        mg_fill_outside(d, &b, plane);
        const int8_t *from = in + b.offset * d->in_line, *taken = w;
        uint32_t *const to = plane + b.begin + d->margin;
        by.lines = b.lines;
        for (int32_t left = d->out_c; left > 0; left--, taken += taps) {
            if (b.count > 0)
                d->by->widen(from++, to, &widening, b.count);
            d->by->three(plane, &by, out++, taken);
            by.scale = (const int8_t *)by.scale + 8;
        }
        return;
    }
    for (int32_t c = 0; c < d->out_c; c += times, in += c % each == 0)
        for (int32_t top = begin; top < end; top += d->band) {
            if (d->band < end - begin)
                mg_band_at(d, top, begin, end, &b);
            if (b.first > 0)
                mg_move_rows(d, &b, plane);
            mg_fill_plane(d, &widening, &b, in, plane);
            for (int32_t m = c; m < c + times; m++) {
                int8_t *const to = out + (top - begin) * d->out_line + m;
                if (!d->by->three) {
                    d->by->any(d, plane, spread, w + m * taps, scales, m, to, b.lines, top == begin);
                    continue;
                }
                by.scale = (const int8_t *)scales + m * d->scale_bytes;
                by.lines = b.lines;
                d->by->three(plane, &by, to, w + m * taps);
                if (d->low > -128 || d->high < 127)
                    mg_clamp_lines(d, to, b.lines);
            }
        }
}

#endif
