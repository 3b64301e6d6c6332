#ifndef MULTIGRAFT_CONV_H
#define MULTIGRAFT_CONV_H

#include "operators.h"

enum { MOST_RUN = 256 }; /* pixels */

struct Conv {
    int channels, outputs, groups, words; /* words: of one pixel and group */
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int is_valid, pads_one, activation, type;
    int top, left, rows, columns, k, blocks, run, threads, lanes; /* lanes: channels with those that fill up blocks */
    int padded_h, padded_w, is_copied;
    int32_t least, most;
    uint8_t *weights;              /* [group][block] */
    size_t block_bytes;            /* of its weights */
    int32_t *tap_sums;             /* [kernel_h + 1][kernel_w + 1][output]: see sum_taps */
    float *multiplier, *bias;      /* [lanes] */
    int32_t *thresholds;           /* [output] */
    int32_t *places;               /* [group][k], bytes from a pixel's first word */
    int32_t *row_kinds, *column_kinds; /* which of their places lie outside: add up to a pixel's kind */
    int32_t *offsets;              /* [kind][lanes]: what the places outside add to 2 n; for packed outputs the limits of n */
    uint32_t *copy;                /* the input with what lies around it, and `ahead` zeros */
    uint8_t *spread;               /* what kernels make of it */
    size_t ahead;                  /* words from a pixel to the next output's */
    int32_t *counts;               /* [thread][run][block] */
};

int prepare_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads);
void run_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool);
void free_conv(Conv *conv);

#endif
