#include "operators.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conv.h"
#include "flexbuffer.h"

static const char *const NAMES[] = {"LceQuantize", "LceDequantize", "LceBconv2d", "LceBMaxPool2d"};
static const int INPUTS[] = {1, 1, 5, 1};

Kind kind_of(const char *name) {
    int kind = QUANTIZE;
    while (kind < UNKNOWN && (name == NULL || strcmp(name, NAMES[kind]) != 0)) kind++;
    return (Kind)kind;
}

int inputs_of(Kind kind) { return INPUTS[kind]; }

int refuse(TfLiteContext *context, const Operator *op, const char *what) {
    context->ReportError(context, "%s: %s", NAMES[op->kind], what);
    return TFLITE_ERROR;
}

int window_positions(int size, int window, int stride, int dilation, int is_valid, int *before) {
    const int64_t span = (int64_t)(window - 1) * dilation + 1;
    const int64_t out = is_valid ? (size - span + stride) / stride : ((int64_t)size + stride - 1) / stride;
    const int64_t over = is_valid ? 0 : (out - 1) * stride + span - size;
    *before = over > 0 ? (int)(over / 2) : 0;
    return (is_valid && size < span) || out < 1 || over > INT_MAX ? 0 : (int)out;
}

int resize(TfLiteContext *context, int tensor, const int *shape, int rank) {
    TfLiteIntArray *dims = malloc(sizeof(TfLiteIntArray) + (size_t)rank * sizeof(int));
    if (dims == NULL) return TFLITE_ERROR;
    dims->size = rank;
    memcpy(dims->data, shape, (size_t)rank * sizeof(int));
    return context->ResizeTensor(context, &context->tensors[tensor], dims); /* which frees dims */
}

enum { MOST_RANK = 8 };

static int rows_of(const TfLiteIntArray *dims) {
    int64_t rows = 1;
    for (int i = 0; i < dims->size - 1; i++) rows *= dims->data[i];
    return (int)rows;
}

static int prepare_pack(TfLiteContext *context, Operator *op) {
    const TfLiteTensor *in = &context->tensors[op->inputs[0]], *out = &context->tensors[op->output];
    const TfLiteTensor *values = op->kind == QUANTIZE ? in : out, *words = op->kind == QUANTIZE ? out : in;
    if (values->type != TFLITE_FLOAT32 && values->type != TFLITE_INT8 && values->type != TFLITE_BOOL)
        return refuse(context, op, "takes float32, int8 or bool");
    if (words->type != TFLITE_INT32) return refuse(context, op, "packed values are int32");
    if (in->allocation_type == TFLITE_CONSTANT) return refuse(context, op, "its input is constant");
    const int rank = in->dims->size;
    if (rank < 1 || rank > MOST_RANK || out->dims->size != rank) return refuse(context, op, "has two ranks");
    int shape[MOST_RANK];
    memcpy(shape, in->dims->data, (size_t)rank * sizeof(int));
    if (op->kind == QUANTIZE) {
        shape[rank - 1] = shape[rank - 1] / 32 + (shape[rank - 1] % 32 != 0);
    } else {
        /* The file alone says how many channels the last word holds. */
        const int channels = out->dims->data[rank - 1];
        if (channels < 1 || (channels - 1) / 32 + 1 != shape[rank - 1])
            return refuse(context, op, "has a number of channels that its words do not hold");
        if (out->type == TFLITE_INT8 && !(out->scale > 1e-30f)) return refuse(context, op, "its output has no scale");
        shape[rank - 1] = channels;
    }
    return resize(context, op->output, shape, rank);
}

static void run_quantize(TfLiteContext *context, const Operator *op, const Kernels *kernels) {
    const TfLiteTensor *in = &context->tensors[op->inputs[0]];
    uint32_t *words = context->tensors[op->output].data;
    const size_t rows = (size_t)rows_of(in->dims), channels = (size_t)in->dims->data[in->dims->size - 1];
    const size_t per_row = (channels + 31) / 32;
    /* Rows without a tail lie side by side as one. */
    const size_t n = channels % 32 ? channels : rows * channels, count = channels % 32 ? rows : 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t *to = words + i * per_row;
        if (in->type == TFLITE_FLOAT32) {
            kernels->pack_float((const float *)in->data + i * n, n, to);
        } else {
            /* true is +1, false is -1: true is stored as 1. */
            const int32_t zero_point = in->type == TFLITE_BOOL ? 1 : in->zero_point;
            const int8_t *from = (const int8_t *)in->data + i * n;
            if (zero_point >= -128 && zero_point <= 127)
                kernels->pack_int8(from, n, zero_point, to);
            else
                for (size_t j = 0; j < n; j += 32)
                    to[j / 32] = zero_point < 0 ? 0 : n - j < 32 ? (1u << (n - j)) - 1 : ~0u;
        }
    }
}

static void run_dequantize(TfLiteContext *context, const Operator *op) {
    const TfLiteTensor *out = &context->tensors[op->output];
    const uint32_t *words = context->tensors[op->inputs[0]].data;
    const size_t rows = (size_t)rows_of(out->dims), channels = (size_t)out->dims->data[out->dims->size - 1];
    int one = 1, minus_one = out->type == TFLITE_BOOL ? 0 : -1;
    if (out->type == TFLITE_INT8) {
        const float reciprocal = 1.0f / out->scale;
        const int64_t step = reciprocal < 65536.0f ? (int64_t)roundf(reciprocal) : 65536;
        const int64_t high = out->zero_point + step, low = out->zero_point - step;
        one = high > 127 ? 127 : (int8_t)high;
        minus_one = low < -128 ? -128 : (int8_t)low;
    }
    for (size_t i = 0; i < rows; i++, words += (channels + 31) / 32) {
        if (out->type == TFLITE_FLOAT32) {
            float *y = (float *)out->data + i * channels;
            for (size_t j = 0; j < channels; j++) y[j] = words[j / 32] >> (j % 32) & 1 ? -1.0f : 1.0f;
        } else {
            int8_t *y = (int8_t *)out->data + i * channels;
            for (size_t j = 0; j < channels; j++) y[j] = (int8_t)(words[j / 32] >> (j % 32) & 1 ? minus_one : one);
        }
    }
}

static int prepare_pool(TfLiteContext *context, Operator *op) {
    const TfLiteTensor *in = &context->tensors[op->inputs[0]];
    Window *w = &op->pool;
    const struct {
        const char *key;
        int *to;
    } fields[] = {{"filter_height", &w->height},  {"filter_width", &w->width},  {"stride_height", &w->stride_h},
                  {"stride_width", &w->stride_w}, {"padding", &w->is_valid}};
    for (size_t i = 0; i < 5; i++) {
        int32_t value;
        if (!flexbuffer_number(op->options, op->options_size, fields[i].key, &value) || value > 1 << 16 ||
            value < (i < 4) || (i == 4 && value > 1))
            return refuse(context, op, "has an option that is missing or out of range");
        *fields[i].to = value;
    }
    if (in->type != TFLITE_INT32 || context->tensors[op->output].type != TFLITE_INT32 || in->dims->size != 4)
        return refuse(context, op, "takes int32 of rank 4");
    if (in->allocation_type == TFLITE_CONSTANT) return refuse(context, op, "its input is constant");
    const int *d = in->dims->data;
    const int rows = window_positions(d[1], w->height, w->stride_h, 1, w->is_valid, &w->top);
    const int columns = window_positions(d[2], w->width, w->stride_w, 1, w->is_valid, &w->left);
    if (rows == 0 || columns == 0) return refuse(context, op, "has a window larger than its input");
    return resize(context, op->output, (const int[]){d[0], rows, columns, d[3]}, 4);
}

static void run_pool(TfLiteContext *context, const Operator *op) {
    const TfLiteTensor *in = &context->tensors[op->inputs[0]], *out = &context->tensors[op->output];
    const Window *w = &op->pool;
    const int *d = in->dims->data, *o = out->dims->data;
    const size_t words = (size_t)d[3];
    uint32_t *to = out->data;
    for (int b = 0; b < o[0]; b++)
        for (int y = 0; y < o[1]; y++)
            for (int x = 0; x < o[2]; x++, to += words) {
                const int row = y * w->stride_h - w->top, column = x * w->stride_w - w->left;
                memset(to, 0xff, words * 4);
                for (int i = row < 0 ? 0 : row; i < row + w->height && i < d[1]; i++)
                    for (int j = column < 0 ? 0 : column; j < column + w->width && j < d[2]; j++) {
                        const uint32_t *from =
                            (const uint32_t *)in->data + (((size_t)b * (size_t)d[1] + (size_t)i) * (size_t)d[2] + (size_t)j) * words;
                        for (size_t c = 0; c < words; c++) to[c] &= from[c];
                    }
            }
}

int prepare_operator(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads) {
    for (int i = 0; i < inputs_of(op->kind); i++)
        if (op->inputs[i] >= 0 && context->tensors[op->inputs[i]].dims == NULL)
            return refuse(context, op, "has a tensor without a shape");
    if (op->inputs[0] < 0 || context->tensors[op->output].dims == NULL)
        return refuse(context, op, "has a tensor without a shape");
    const TfLiteIntArray *dims = context->tensors[op->inputs[0]].dims;
    int64_t elements = 1;
    for (int i = 0; i < dims->size; i++) {
        if (dims->data[i] < 1 || (elements *= dims->data[i]) > INT_MAX)
            return refuse(context, op, "has an input that is empty or too large");
    }
    switch (op->kind) {
        case BCONV: return prepare_conv(context, op, kernels, threads);
        case BMAXPOOL: return prepare_pool(context, op);
        default: return prepare_pack(context, op);
    }
}

void run_operator(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool) {
    switch (op->kind) {
        case QUANTIZE: run_quantize(context, op, kernels); break;
        case DEQUANTIZE: run_dequantize(context, op); break;
        case BMAXPOOL: run_pool(context, op); break;
        default: run_conv(context, op, kernels, pool);
    }
}

void free_operator(Operator *op) { free_conv(op->conv); }
