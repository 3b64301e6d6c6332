#ifndef MULTIGRAFT_CONV_H
#define MULTIGRAFT_CONV_H

#include "operators.h"

int prepare_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads);
void run_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool);
void free_conv(Conv *conv);

#endif
