/* The four operators of Larq Compute Engine's set, each prepared from its options and tensors and then run. */
#ifndef MULTIGRAFT_OPERATORS_H
#define MULTIGRAFT_OPERATORS_H

#include "kernels.h"
#include "pool.h"
#include "tflite_abi.h"

enum { MOST_INPUTS = 5 };

typedef enum { QUANTIZE, DEQUANTIZE, BCONV, BMAXPOOL, UNKNOWN } Kind;

typedef struct Conv Conv; /* conv.h */

typedef struct {
    int height, width, stride_h, stride_w, is_valid;
    int top, left;
} Window;

typedef struct {
    Kind kind;
    int inputs[MOST_INPUTS];
    int output;
    const uint8_t *options;
    size_t options_size;
    Window pool;
    Conv *conv;
} Operator;

Kind kind_of(const char *name);
int inputs_of(Kind kind);

/* Says what is wrong and returns TFLITE_ERROR. */
int refuse(TfLiteContext *context, const Operator *op, const char *what);
/* Gives the output its shape; checks that nothing lies outside of any tensor. */
int prepare_operator(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads);
void run_operator(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool);
void free_operator(Operator *op);

/* Number of output positions and the padding before the first, as in TensorFlow; 0 where there is none. */
int window_positions(int size, int window, int stride, int dilation, int is_valid, int *before);
int resize(TfLiteContext *context, int tensor, const int *shape, int rank);

#endif
