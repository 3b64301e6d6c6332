/* y = f(K - 2 n) with n the number of places where activation and weight differ, K the number of all.
 *
 * Pixels are worked on in chunks, output channels in blocks whose packed weights stay in the nearest cache. What lies
 * outside of the input is read as zero bits from a padded copy, which is +1. Where it has to be 0 the places outside are
 * taken out of 2 n again, and each counts as half a difference. */
#include "conv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "flexbuffer.h"

enum { CHUNK_BYTES = 1 << 16, LARGEST_COUNT = 1 << 28, LARGEST_WORDS = 1 << 28 };

struct Conv {
    int channels, outputs, groups, words; /* words: of one pixel and group */
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int is_valid, pads_one, activation, type;
    int top, left, rows, columns, padded_h, padded_w, is_padded, k, blocks, chunk, threads;
    int32_t least, most;
    size_t stride;        /* of the counts of a pixel */
    uint32_t *weights;    /* [group][block][k][lane] */
    int32_t *places;      /* [group][k], from a pixel's first word */
    int32_t *tap_counts;  /* [tap][output]: channels - 2 * popcount, what a place outside adds */
    float *multiplier, *bias;
    int32_t *thresholds, *doubled;
    uint32_t *padded;
    int32_t *counts;      /* [thread][chunk][stride] */
};

void free_conv(Conv *c) {
    if (c == NULL) return;
    void *const held[] = {c->weights, c->places,  c->tap_counts, c->multiplier, c->bias,
                          c->thresholds, c->doubled, c->padded, c->counts};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) free(held[i]);
    free(c);
}

static void *elements(size_t count, size_t size) { return calloc(count ? count : 1, size); }

static int read_options(TfLiteContext *context, Operator *op, Conv *c) {
    const struct {
        const char *key;
        int *to, least, most;
    } fields[] = {
        {"channels_in", &c->channels, 1, 1 << 20},
        {"stride_height", &c->stride_h, 1, 1 << 16},
        {"stride_width", &c->stride_w, 1, 1 << 16},
        {"dilation_height_factor", &c->dilation_h, 1, 1 << 16},
        {"dilation_width_factor", &c->dilation_w, 1, 1 << 16},
        {"padding", &c->is_valid, 0, 1},
        {"pad_values", &c->pads_one, 0, 1},
        {"fused_activation_function", &c->activation, 0, 3},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int32_t value;
        if (!flexbuffer_number(op->options, op->options_size, fields[i].key, &value) || value < fields[i].least ||
            value > fields[i].most)
            return refuse(context, op, "has an option that is missing or out of range");
        *fields[i].to = value;
    }
    return TFLITE_OK;
}

static bool is_constant(const TfLiteTensor *t, int type, size_t count) {
    return t != NULL && t->type == type && t->allocation_type == TFLITE_CONSTANT && t->data != NULL && t->bytes == 4 * count;
}

static int pack_weights(Conv *c, const uint8_t *filter, const Kernels *kernels) {
    const int per_group = c->outputs / c->groups, taps = c->kernel_h * c->kernel_w;
    const size_t block = (size_t)kernels->block, k = (size_t)c->k;
    c->blocks = (per_group + kernels->block - 1) / kernels->block;
    c->weights = elements((size_t)c->groups * (size_t)c->blocks * k * block, 4);
    c->tap_counts = elements((size_t)taps * (size_t)c->outputs, 4);
    if (c->weights == NULL || c->tap_counts == NULL) return TFLITE_ERROR;
    for (int o = 0; o < c->outputs; o++) {
        const int group = o / per_group, in_group = o % per_group;
        uint32_t *to = c->weights + ((size_t)group * (size_t)c->blocks + (size_t)in_group / block) * k * block + (size_t)in_group % block;
        for (size_t i = 0; i < k; i++) {
            uint32_t word;
            memcpy(&word, filter + 4 * ((size_t)o * k + i), 4); /* may lie at any place */
            to[i * block] = word;
            int32_t *tap = &c->tap_counts[i / (size_t)c->words * (size_t)c->outputs + (size_t)o];
            for (; word; word &= word - 1) *tap += 1;
        }
    }
    for (size_t i = 0; i < (size_t)taps * (size_t)c->outputs; i++)
        c->tap_counts[i] = c->channels / c->groups - 2 * c->tap_counts[i];
    return TFLITE_OK;
}

static int fold_output(Conv *c, const TfLiteTensor *in[], const TfLiteTensor *out) {
    static const int32_t LEAST[] = {INT_MIN, 0, -1, 0}, MOST[] = {INT_MAX, INT_MAX, 1, 6};
    const size_t n = (size_t)c->outputs;
    if (c->type == TFLITE_INT32) {
        c->thresholds = elements(n, 4);
        c->doubled = elements(n, 4);
        if (c->thresholds == NULL || c->doubled == NULL) return TFLITE_ERROR;
        memcpy(c->thresholds, in[4]->data, 4 * n);
        for (size_t i = 0; i < n; i++) {
            int32_t t = c->thresholds[i]; /* counts are from 0 to LARGEST_COUNT */
            t = t < -1 ? -1 : t > LARGEST_COUNT ? LARGEST_COUNT : t;
            c->doubled[i] = 2 * t;
        }
        return TFLITE_OK;
    }
    c->multiplier = elements(n, 4);
    c->bias = elements(n, 4);
    if (c->multiplier == NULL || c->bias == NULL) return TFLITE_ERROR;
    memcpy(c->multiplier, in[2]->data, 4 * n);
    memcpy(c->bias, in[3]->data, 4 * n);
    const int32_t most = c->kernel_h * c->kernel_w * (c->channels / c->groups);
    const double scale = c->type == TFLITE_INT8 ? out->scale : 1.0, zero = c->type == TFLITE_INT8 ? out->zero_point : 0.0;
    for (size_t i = 0; i < n; i++) {
        const double multiplier = c->multiplier[i], bias = c->bias[i];
        c->multiplier[i] = (float)(-multiplier / scale);
        c->bias[i] = (float)((bias + most * multiplier) / scale + zero);
    }
    /* The activation, turned over with 2 n = K - x. */
    const int32_t low = LEAST[c->activation], high = MOST[c->activation];
    c->most = most - (low < -most ? -most : low);
    c->least = most - (high > most ? most : high);
    return TFLITE_OK;
}

/* What follows from options, weights and parameters, which do not change. */
static int prepare_once(TfLiteContext *context, Operator *op, const Kernels *kernels) {
    const TfLiteTensor *in[MOST_INPUTS], *out = &context->tensors[op->output];
    for (int i = 0; i < MOST_INPUTS; i++) in[i] = op->inputs[i] < 0 ? NULL : &context->tensors[op->inputs[i]];
    Conv *c = op->conv = calloc(1, sizeof *c);
    if (c == NULL) return TFLITE_ERROR;
    if (read_options(context, op, c) != TFLITE_OK) return TFLITE_ERROR;
    c->type = out->type;
    if (c->type != TFLITE_INT32 && c->type != TFLITE_INT8 && c->type != TFLITE_FLOAT32)
        return refuse(context, op, "its output is neither float32, int8 nor int32");
    if (in[1] == NULL || in[1]->dims->size != 4) return refuse(context, op, "its filter has not rank 4");
    const int *f = in[1]->dims->data;
    int64_t words = 1;
    for (int i = 0; i < 4; i++)
        if (f[i] < 1 || (words *= f[i]) > LARGEST_WORDS) return refuse(context, op, "its filter is empty or too large");
    if (!is_constant(in[1], TFLITE_INT32, (size_t)words)) return refuse(context, op, "its filter is no constant of int32");
    c->outputs = f[0], c->kernel_h = f[1], c->kernel_w = f[2], c->words = f[3];
    const int all = (c->channels - 1) / 32 + 1;
    if (all % c->words != 0) return refuse(context, op, "its filter does not fit its number of channels");
    c->groups = all / c->words;
    if (c->groups > 1 && (c->channels % (32 * c->groups) != 0 || c->outputs % c->groups != 0))
        return refuse(context, op, "its groups do not divide its channels into words");
    c->k = c->kernel_h * c->kernel_w * c->words;
    if ((int64_t)c->k * 32 >= LARGEST_COUNT || (int64_t)c->outputs * (c->k + 32) > LARGEST_WORDS)
        return refuse(context, op, "its filter is too large");
    const size_t n = (size_t)c->outputs;
    if (c->type == TFLITE_INT32 ? !is_constant(in[4], TFLITE_INT32, n)
                                : !is_constant(in[2], TFLITE_FLOAT32, n) || !is_constant(in[3], TFLITE_FLOAT32, n))
        return refuse(context, op, "its thresholds, or multiplier and bias, are no constants of one value a channel");
    if (c->type == TFLITE_INT8 && !(out->scale > 1e-30f)) return refuse(context, op, "its output has no scale");
    if (fold_output(c, in, out) != TFLITE_OK) return TFLITE_ERROR;
    return pack_weights(c, in[1]->data, kernels);
}

/* What follows from the shape of the input. */
static int fit(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads) {
    Conv *c = op->conv;
    const TfLiteTensor *in = &context->tensors[op->inputs[0]];
    if (in->type != TFLITE_INT32 || in->dims->size != 4) return refuse(context, op, "takes int32 of rank 4");
    if (in->allocation_type == TFLITE_CONSTANT) return refuse(context, op, "its input is constant");
    const int *d = in->dims->data;
    if (d[3] != c->words * c->groups) return refuse(context, op, "its input does not have channels_in channels");
    c->rows = window_positions(d[1], c->kernel_h, c->stride_h, c->dilation_h, c->is_valid, &c->top);
    c->columns = window_positions(d[2], c->kernel_w, c->stride_w, c->dilation_w, c->is_valid, &c->left);
    if (c->rows == 0 || c->columns == 0) return refuse(context, op, "has a filter larger than its input");
    const int64_t high = (int64_t)(c->rows - 1) * c->stride_h + (int64_t)(c->kernel_h - 1) * c->dilation_h + 1;
    const int64_t wide = (int64_t)(c->columns - 1) * c->stride_w + (int64_t)(c->kernel_w - 1) * c->dilation_w + 1;
    c->is_padded = c->top > 0 || c->left > 0 || high > d[1] || wide > d[2];
    const int64_t padded_h = c->is_padded ? high : d[1], padded_w = c->is_padded ? wide : d[2];
    if (padded_h > 1 << 20 || padded_w > 1 << 20 || padded_h * padded_w > LARGEST_WORDS / d[3] / d[0])
        return refuse(context, op, "is too large");
    if ((int64_t)d[0] * c->rows * c->columns > INT_MAX - MOST_PIXELS) return refuse(context, op, "is too large");
    c->padded_h = (int)padded_h, c->padded_w = (int)padded_w, c->threads = threads;
    c->stride = (size_t)c->outputs + MOST_BLOCK;
    int chunk = (int)(CHUNK_BYTES / 4 / c->stride) / kernels->pixels * kernels->pixels;
    c->chunk = chunk < 2 * kernels->pixels ? 2 * kernels->pixels : chunk > 256 ? 256 : chunk;
    free(c->places);
    free(c->padded);
    free(c->counts);
    c->padded = NULL;
    c->places = elements((size_t)c->groups * (size_t)c->k, 4);
    c->counts = elements((size_t)threads * (size_t)c->chunk * c->stride, 4);
    if (c->is_padded) c->padded = elements((size_t)d[0] * (size_t)(padded_h * padded_w) * (size_t)d[3], 4);
    if (c->places == NULL || c->counts == NULL || (c->is_padded && c->padded == NULL))
        return refuse(context, op, "finds no memory");
    int32_t *place = c->places;
    for (int g = 0; g < c->groups; g++)
        for (int y = 0; y < c->kernel_h; y++)
            for (int x = 0; x < c->kernel_w; x++)
                for (int i = 0; i < c->words; i++)
                    *place++ = (y * c->dilation_h * c->padded_w + x * c->dilation_w) * d[3] + g * c->words + i;
    const int depth = c->type == TFLITE_INT32 ? (c->outputs - 1) / 32 + 1 : c->outputs;
    return resize(context, op->output, (const int[]){d[0], c->rows, c->columns, depth}, 4);
}

int prepare_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, int threads) {
    if (op->conv == NULL && prepare_once(context, op, kernels) != TFLITE_OK) {
        free_conv(op->conv);
        op->conv = NULL;
        return TFLITE_ERROR;
    }
    return fit(context, op, kernels, threads);
}

typedef struct {
    const Conv *conv;
    const Kernels *kernels;
    const uint32_t *source; /* padded, if it had to be */
    void *to;
    int height, width, total;
} Work;

/* Takes out of 2 n what the places outside of the input added; false if there is none. */
static bool correct(const Work *work, int pixel, int32_t *counts) {
    const Conv *c = work->conv;
    const int y = pixel / c->columns % c->rows * c->stride_h - c->top, x = pixel % c->columns * c->stride_w - c->left;
    const int last_y = y + (c->kernel_h - 1) * c->dilation_h, last_x = x + (c->kernel_w - 1) * c->dilation_w;
    if (y >= 0 && x >= 0 && last_y < work->height && last_x < work->width) return false;
    for (int o = 0; o < c->outputs; o++) counts[o] *= 2;
    for (int i = 0; i < c->kernel_h; i++)
        for (int j = 0; j < c->kernel_w; j++) {
            const int row = y + i * c->dilation_h, column = x + j * c->dilation_w;
            if (row >= 0 && row < work->height && column >= 0 && column < work->width) continue;
            const int32_t *tap = c->tap_counts + (size_t)(i * c->kernel_w + j) * (size_t)c->outputs;
            for (int o = 0; o < c->outputs; o++) counts[o] += tap[o];
        }
    return true;
}

static void run_chunk(void *argument, int part, int thread) {
    const Work *work = argument;
    const Conv *c = work->conv;
    const Kernels *kernels = work->kernels;
    const int first = part * c->chunk, depth = c->words * c->groups, per_group = c->outputs / c->groups;
    const int count = work->total - first < c->chunk ? work->total - first : c->chunk;
    int32_t *counts = c->counts + (size_t)thread * (size_t)c->chunk * c->stride;
    const uint32_t *pixels[256];
    int image = first / c->columns / c->rows, y = first / c->columns % c->rows, x = first % c->columns;
    for (int i = 0; i < count; i++) {
        const size_t row = (size_t)image * (size_t)c->padded_h + (size_t)y * (size_t)c->stride_h;
        pixels[i] = work->source + (row * (size_t)c->padded_w + (size_t)x * (size_t)c->stride_w) * (size_t)depth;
        if (++x == c->columns) {
            x = 0;
            if (++y == c->rows) y = 0, image++;
        }
    }
    for (int i = count; i < c->chunk; i++) pixels[i] = pixels[count - 1]; /* a tile is always whole */
    for (int g = 0; g < c->groups; g++)
        for (int b = 0; b < c->blocks; b++) {
            const int left = per_group - b * kernels->block;
            const int used = left < kernels->block ? (left + kernels->lanes - 1) / kernels->lanes * kernels->lanes : kernels->block;
            const uint32_t *weights = c->weights + ((size_t)g * (size_t)c->blocks + (size_t)b) * (size_t)c->k * (size_t)kernels->block;
            /* Lanes without a channel write where the next group's first come later. */
            int32_t *to = counts + (size_t)g * (size_t)per_group + (size_t)b * (size_t)kernels->block;
            for (int i = 0; i < count; i += kernels->pixels)
                kernels->tile(pixels + i, c->places + (size_t)g * (size_t)c->k, c->k, weights, used,
                              to + (size_t)i * c->stride, c->stride);
        }
    for (int i = 0; i < count; i++) {
        int32_t *row = counts + (size_t)i * c->stride;
        const size_t pixel = (size_t)(first + i);
        const bool is_doubled = !c->pads_one && c->is_padded && correct(work, first + i, row);
        if (c->type == TFLITE_INT32) {
            uint32_t *words = (uint32_t *)work->to + pixel * (size_t)((c->outputs - 1) / 32 + 1);
            kernels->compare(row, is_doubled ? c->doubled : c->thresholds, c->outputs, words);
            continue;
        }
        const int shift = !is_doubled;
        if (c->type == TFLITE_INT8)
            kernels->to_int8(row, shift, c->outputs, c->least, c->most, c->multiplier, c->bias,
                             (int8_t *)work->to + pixel * (size_t)c->outputs);
        else
            kernels->to_float(row, shift, c->outputs, c->least, c->most, c->multiplier, c->bias,
                              (float *)work->to + pixel * (size_t)c->outputs);
    }
}

void run_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool) {
    const Conv *c = op->conv;
    const TfLiteTensor *in = &context->tensors[op->inputs[0]];
    const int *d = in->dims->data;
    Work work = {c, kernels, in->data, context->tensors[op->output].data, d[1], d[2], d[0] * c->rows * c->columns};
    if (c->is_padded) {
        const size_t pixel = (size_t)d[3], height = d[1] < c->padded_h - c->top ? d[1] : c->padded_h - c->top;
        const size_t width = d[2] < c->padded_w - c->left ? d[2] : c->padded_w - c->left;
        for (size_t b = 0; b < (size_t)d[0]; b++)
            for (size_t y = 0; y < height; y++)
                memcpy(c->padded + ((b * (size_t)c->padded_h + y + (size_t)c->top) * (size_t)c->padded_w + (size_t)c->left) * pixel,
                       (const uint32_t *)in->data + (b * (size_t)d[1] + y) * (size_t)d[2] * pixel, 4 * width * pixel);
        work.source = c->padded;
    }
    pool_run(pool_threads(pool) <= c->threads ? pool : NULL, run_chunk, &work, (work.total + c->chunk - 1) / c->chunk);
}
