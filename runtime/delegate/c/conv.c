/* y = f(K - 2 n) with n the number of places where activation and weight differ, K the number of all: what is prepared.
 *
 * What lies outside of the input is read as zero bits from a copy, which is +1. Where it has to be 0 the places outside are
 * taken out of 2 n again, and each counts as half a difference: pixels with the same places outside are of one kind, and
 * a table says for each kind and channel what to add, or where the limit lies. */
#include "conv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "flexbuffer.h"

enum { LARGEST_COUNT = 1 << 28, LARGEST_WORDS = (1 << 27) - 1 /* 16 bytes each can be addressed */, MOST_COUNTS = 1 << 13 };

void free_conv(Conv *c) {
    if (c == NULL) return;
    void *const held[] = {c->weights, c->tap_sums,  c->multiplier,   c->bias,    c->thresholds, c->places,
                          c->counts,  c->row_kinds, c->column_kinds, c->offsets, c->copy,       c->spread};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) free(held[i]);
    free(c);
}

/* Zeros, from the beginning of a cache line on. */
static void *elements(size_t count, size_t size) {
    const size_t bytes = (count * size / 64 + 1) * 64;
    void *p = aligned_alloc(64, bytes);
    return p == NULL ? NULL : memset(p, 0, bytes);
}

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

/* Of every output channel, summed up over the taps above and to the left of each: channels - 2 * popcount. */
static void sum_taps(Conv *c, const uint8_t *filter) {
    const size_t n = (size_t)c->outputs, row = (size_t)(c->kernel_w + 1) * n, words = (size_t)c->words;
    for (size_t y = 0; y < (size_t)c->kernel_h; y++)
        for (size_t x = 0; x < (size_t)c->kernel_w; x++) {
            int32_t *sum = c->tap_sums + (y + 1) * row + (x + 1) * n;
            const uint8_t *from = filter + 4 * (y * (size_t)c->kernel_w + x) * words;
            for (size_t o = 0; o < n; o++, from += 4 * (size_t)c->k) {
                int32_t ones = 0;
                for (size_t i = 0; i < words; i++) {
                    uint32_t word;
                    for (memcpy(&word, from + 4 * i, 4); word; word &= word - 1) ones++;
                }
                sum[o] = c->channels / c->groups - 2 * ones + (sum - n)[o] + (sum - row)[o] - (sum - row - n)[o];
            }
        }
}

static int lay_weights(Conv *c, const uint8_t *filter, const Kernels *kernels) {
    const int per_group = c->outputs / c->groups;
    const size_t k = (size_t)c->k, n = (size_t)c->outputs;
    c->block_bytes = k * (size_t)kernels->weight_bytes;
    c->weights = elements((size_t)c->groups * (size_t)c->blocks, c->block_bytes);
    c->tap_sums = elements((size_t)(c->kernel_h + 1) * (size_t)(c->kernel_w + 1) * n, 4);
    uint32_t *block = elements((size_t)kernels->block * k, 4);
    if (c->weights == NULL || c->tap_sums == NULL || block == NULL) {
        free(block);
        return TFLITE_ERROR;
    }
    uint8_t *to = c->weights;
    for (int g = 0; g < c->groups; g++)
        for (int b = 0; b < c->blocks; b++, to += c->block_bytes) {
            const int first = b * kernels->block, left = per_group - first;
            const size_t words = (size_t)(left < kernels->block ? left : kernels->block) * k;
            /* The file's bytes may lie at any place. */
            memcpy(block, filter + 4 * (size_t)(g * per_group + first) * k, 4 * words);
            memset(block + words, 0, 4 * ((size_t)kernels->block * k - words));
            kernels->lay(block, c->k, to);
        }
    free(block);
    sum_taps(c, filter);
    return TFLITE_OK;
}

/* The place of an output channel among those that fill up blocks. */
static size_t lane_of(const Conv *c, int output) {
    const int per_group = c->outputs / c->groups;
    return (size_t)(output / per_group) * (size_t)(c->lanes / c->groups) + (size_t)(output % per_group);
}

static int fold_output(Conv *c, const TfLiteTensor *in[], const TfLiteTensor *out) {
    static const int32_t LEAST[] = {INT_MIN, 0, -1, 0}, MOST[] = {INT_MAX, INT_MAX, 1, 6};
    const size_t n = (size_t)c->outputs;
    if (c->type == TFLITE_INT32) {
        c->thresholds = elements(n, 4);
        if (c->thresholds == NULL) return TFLITE_ERROR;
        memcpy(c->thresholds, in[4]->data, 4 * n);
        return TFLITE_OK;
    }
    c->multiplier = elements((size_t)c->lanes, 4);
    c->bias = elements((size_t)c->lanes, 4);
    if (c->multiplier == NULL || c->bias == NULL) return TFLITE_ERROR;
    const int32_t most = c->kernel_h * c->kernel_w * (c->channels / c->groups);
    const double scale = c->type == TFLITE_INT8 ? out->scale : 1.0, zero = c->type == TFLITE_INT8 ? out->zero_point : 0.0;
    for (int o = 0; o < c->outputs; o++) {
        float multiplier, bias;
        memcpy(&multiplier, (const uint8_t *)in[2]->data + 4 * (size_t)o, 4);
        memcpy(&bias, (const uint8_t *)in[3]->data + 4 * (size_t)o, 4);
        c->multiplier[lane_of(c, o)] = (float)(-(double)multiplier / scale);
        c->bias[lane_of(c, o)] = (float)(((double)bias + most * (double)multiplier) / scale + zero);
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
    c->blocks = (c->outputs / c->groups - 1) / kernels->block + 1;
    c->lanes = c->groups * c->blocks * kernels->block;
    if (fold_output(c, in, out) != TFLITE_OK || lay_weights(c, in[1]->data, kernels) != TFLITE_OK)
        return refuse(context, op, "finds no memory");
    return TFLITE_OK;
}

/* Taps along one axis that lie inside of the input: from the first up to, and without, the last. */
typedef struct {
    int first, last;
} Span;

/* Of each output along an axis the number of its kind; returns how many kinds there are. */
static int kinds_of(const Conv *c, int is_row, int size, int32_t *kinds, Span *spans) {
    const int taps = is_row ? c->kernel_h : c->kernel_w, count = is_row ? c->rows : c->columns;
    const int64_t stride = is_row ? c->stride_h : c->stride_w, dilation = is_row ? c->dilation_h : c->dilation_w;
    int found = 0;
    for (int i = 0; i < count; i++) {
        const int64_t at = i * stride - (is_row ? c->top : c->left);
        int64_t first = at < 0 ? (dilation - 1 - at) / dilation : 0;
        int64_t last = at < size ? (size - 1 - at) / dilation + 1 : 0;
        if (last > taps) last = taps;
        if (c->pads_one) first = 0, last = taps;
        if (first >= last) first = last = 0;
        if (found == 0 || spans[found - 1].first != first || spans[found - 1].last != last)
            spans[found++] = (Span){(int)first, (int)last};
        kinds[i] = found - 1;
    }
    return found;
}

/* What the taps outside add to 2 n, or the limits of n. */
static void fill_offsets(const Conv *c, Span y, Span x, int32_t *offsets) {
    const size_t n = (size_t)c->outputs, row = (size_t)(c->kernel_w + 1) * n;
    const int32_t *sums = c->tap_sums, *all = sums + (size_t)c->kernel_h * row + (size_t)c->kernel_w * n;
    const int32_t *above = sums + (size_t)y.first * row, *below = sums + (size_t)y.last * row;
    const size_t left = (size_t)x.first * n, right = (size_t)x.last * n;
    if (c->type == TFLITE_INT32)
        for (int i = 0; i < c->lanes; i++) offsets[i] = INT_MAX; /* lanes without a channel */
    for (size_t o = 0; o < n; o++) {
        const int32_t inside = below[right + o] - below[left + o] - above[right + o] + above[left + o];
        const int32_t added = all[o] - inside;
        int32_t *to = offsets + lane_of(c, (int)o);
        if (c->type != TFLITE_INT32) {
            *to = added;
            continue;
        }
        const int32_t t = c->thresholds[o]; /* counts are from 0 to LARGEST_COUNT */
        const int32_t limit = t < -1 ? -1 : t > LARGEST_COUNT ? LARGEST_COUNT : t;
        *to = limit - (added > 0 ? (added + 1) / 2 : added / 2);
    }
}

static int fit_kinds(TfLiteContext *context, const Operator *op, Conv *c, const int *d) {
    const size_t most = (size_t)(c->rows > c->columns ? c->rows : c->columns);
    free(c->row_kinds);
    free(c->column_kinds);
    free(c->offsets);
    c->offsets = NULL;
    c->row_kinds = elements((size_t)c->rows, 4);
    c->column_kinds = elements((size_t)c->columns, 4);
    Span *spans = elements(2 * most, sizeof(Span));
    int status = TFLITE_ERROR;
    if (c->row_kinds != NULL && c->column_kinds != NULL && spans != NULL) {
        const int tall = kinds_of(c, 1, d[1], c->row_kinds, spans);
        const int wide = kinds_of(c, 0, d[2], c->column_kinds, spans + most);
        const size_t lanes = (size_t)c->lanes;
        if ((int64_t)tall * wide <= LARGEST_WORDS / c->lanes && (c->offsets = elements((size_t)tall * (size_t)wide * lanes, 4)) != NULL) {
            for (int y = 0; y < tall; y++)
                for (int x = 0; x < wide; x++)
                    fill_offsets(c, spans[y], spans[most + (size_t)x], c->offsets + (size_t)(y * wide + x) * lanes);
            for (int i = 0; i < c->rows; i++) c->row_kinds[i] *= wide * c->lanes;
            for (int i = 0; i < c->columns; i++) c->column_kinds[i] *= c->lanes;
            status = TFLITE_OK;
        }
    }
    free(spans);
    return status == TFLITE_OK ? status : refuse(context, op, "finds no memory");
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
    const bool is_padded = c->top > 0 || c->left > 0 || high > d[1] || wide > d[2];
    const int64_t padded_h = is_padded ? high : d[1], padded_w = is_padded ? wide : d[2];
    const int64_t total = (int64_t)d[0] * c->rows * c->columns;
    if (padded_h > 1 << 20 || padded_w > 1 << 20 || padded_h * padded_w > LARGEST_WORDS / d[3] / d[0] ||
        total > INT_MAX - MOST_RUN)
        return refuse(context, op, "is too large");
    c->padded_h = (int)padded_h, c->padded_w = (int)padded_w, c->is_copied = is_padded || kernels->spread != NULL;
    c->threads = threads;
    /* The threads' shares, of which packed ones need no memory for counts. */
    const int most = c->type == TFLITE_INT32 ? MOST_RUN : MOST_COUNTS / kernels->block;
    const int64_t parts = (total - 1) / most + 1 > threads ? (total - 1) / most + 1 : threads;
    c->run = (int)((total - 1) / parts + 1);
    c->run = (c->run - 1) / kernels->pixels * kernels->pixels + kernels->pixels;
    free(c->places);
    free(c->copy);
    free(c->spread);
    free(c->counts);
    const size_t width = (size_t)kernels->word_bytes;
    c->copy = NULL, c->spread = NULL;
    c->ahead = c->columns > 1 ? (size_t)c->stride_w * (size_t)d[3] : 0;
    c->places = elements((size_t)c->groups * (size_t)c->k, 4);
    c->counts = elements((size_t)threads * (size_t)c->run * (size_t)kernels->block, 4);
    const size_t all = (size_t)d[0] * (size_t)(padded_h * padded_w) * (size_t)d[3];
    if (c->is_copied) c->copy = elements(all + c->ahead, 4);
    if (kernels->spread != NULL) c->spread = elements(all, width);
    if (c->places == NULL || c->counts == NULL || (c->is_copied && c->copy == NULL) ||
        (kernels->spread != NULL && c->spread == NULL))
        return refuse(context, op, "finds no memory");
    int32_t *place = c->places;
    for (int g = 0; g < c->groups; g++)
        for (int y = 0; y < c->kernel_h; y++)
            for (int x = 0; x < c->kernel_w; x++)
                for (int i = 0; i < c->words; i++)
                    *place++ = ((y * c->dilation_h * c->padded_w + x * c->dilation_w) * d[3] + g * c->words + i) * (int)width;
    if (fit_kinds(context, op, c, d) != TFLITE_OK) return TFLITE_ERROR;
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
