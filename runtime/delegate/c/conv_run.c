/* y = f(K - 2 n): what runs. Pixels are worked on in runs, output channels in blocks whose weights stay in the nearest cache
 * for a run. Threads share out the runs. */
#include <string.h>

#include "conv.h"

typedef struct {
    const Conv *conv;
    const Kernels *kernels;
    const uint8_t *source;
    void *to;
    int total;
} Work;

/* Where each pixel of a run begins, and of which kind it is. */
static void find_pixels(const Work *work, int first, int count, const uint8_t **pixels, int32_t *kinds) {
    const Conv *c = work->conv;
    const size_t pixel = (size_t)(c->words * c->groups * work->kernels->word_bytes), step = (size_t)c->stride_w * pixel;
    int image = first / c->columns / c->rows, y = first / c->columns % c->rows, x = first % c->columns;
    for (int i = 0; i < count; x = 0) {
        const int stop = count - i < c->columns - x ? count : i + c->columns - x;
        const size_t row = (size_t)image * (size_t)c->padded_h + (size_t)y * (size_t)c->stride_h;
        const uint8_t *at = work->source + row * (size_t)c->padded_w * pixel + (size_t)x * step;
        for (; i < stop; i++, x++, at += step) {
            pixels[i] = at;
            kinds[i] = c->row_kinds[y] + c->column_kinds[x];
        }
        if (++y == c->rows) y = 0, image++;
    }
    for (int i = count; i < count + MOST_PIXELS; i++) pixels[i] = pixels[count - 1]; /* a tile is always whole */
}

/* Sets bits of channels that begin within a word. */
static void set_bits(const int32_t *counts, int block, int count, int used, const int32_t *kinds, const int32_t *limits,
                     int channel, uint32_t *words, size_t stride) {
    for (int m = 0; m < count; m++)
        for (int o = 0; o < used; o++)
            words[(size_t)m * stride + (size_t)((channel + o) / 32)] |=
                (uint32_t)(counts[m * block + o] > limits[kinds[m] + o]) << (channel + o) % 32;
}

static void run_part(void *argument, int part, int thread) {
    const Work *work = argument;
    const Conv *c = work->conv;
    const Kernels *kernels = work->kernels;
    const int first = part * c->run, per_group = c->outputs / c->groups, is_packed = c->type == TFLITE_INT32;
    const int count = work->total - first < c->run ? work->total - first : c->run;
    const bool is_whole = c->groups == 1 || per_group % 32 == 0;
    const size_t depth = is_packed ? (size_t)(c->outputs - 1) / 32 + 1 : (size_t)c->outputs, begin = (size_t)first * depth;
    int32_t *counts = c->counts + (size_t)thread * (size_t)c->run * (size_t)kernels->block;
    const uint8_t *pixels[MOST_RUN + MOST_PIXELS];
    int32_t kinds[MOST_RUN];
    find_pixels(work, first, count, pixels, kinds);
    if (is_packed && !is_whole) memset((uint32_t *)work->to + begin, 0, 4 * (size_t)count * depth);
    const ptrdiff_t ahead = (ptrdiff_t)c->ahead * kernels->word_bytes;
    Patch patch = {.pixels = pixels, .count = count, .ahead = ahead, .k = c->k};
    const uint8_t *weights = c->weights;
    int lane = 0;
    for (int g = 0; g < c->groups; g++)
        for (int b = 0; b < c->blocks; b++, weights += c->block_bytes, lane += kernels->block) {
            const int left = per_group - b * kernels->block, channel = g * per_group + b * kernels->block;
            patch.places = c->places + (size_t)g * (size_t)c->k;
            patch.weights = weights;
            patch.used = left < kernels->block ? left : kernels->block;
            if (is_packed && is_whole) {
                kernels->bits(&patch, kinds, c->offsets + lane, (uint32_t *)work->to + begin + channel / 32, depth);
                continue;
            }
            kernels->sums(&patch, counts);
            if (is_packed) {
                set_bits(counts, kernels->block, count, patch.used, kinds, c->offsets + lane, channel,
                         (uint32_t *)work->to + begin, depth);
                continue;
            }
            const Epilogue epilogue = {kinds, c->offsets + lane, c->least, c->most, c->multiplier + lane, c->bias + lane};
            const size_t to = begin + (size_t)channel;
            if (c->type == TFLITE_INT8)
                kernels->to_int8(counts, count, patch.used, &epilogue, (int8_t *)work->to + to, depth);
            else
                kernels->to_float(counts, count, patch.used, &epilogue, (float *)work->to + to, depth);
        }
}

/* Copies the input to where it has room around it. */
static void copy_input(const Conv *c, const int *d, const uint32_t *from) {
    const size_t depth = (size_t)d[3];
    const size_t height = (size_t)(d[1] < c->padded_h - c->top ? d[1] : c->padded_h - c->top);
    const size_t width = (size_t)(d[2] < c->padded_w - c->left ? d[2] : c->padded_w - c->left);
    for (size_t b = 0; b < (size_t)d[0]; b++)
        for (size_t y = 0; y < height; y++) {
            const size_t row = b * (size_t)c->padded_h + y + (size_t)c->top;
            const uint32_t *line = from + (b * (size_t)d[1] + y) * (size_t)d[2] * depth;
            memcpy(c->copy + (row * (size_t)c->padded_w + (size_t)c->left) * depth, line, 4 * width * depth);
        }
}

void run_conv(TfLiteContext *context, Operator *op, const Kernels *kernels, Pool *pool) {
    const Conv *c = op->conv;
    const TfLiteTensor *in = &context->tensors[op->inputs[0]];
    const int *d = in->dims->data;
    Work work = {c, kernels, in->data, context->tensors[op->output].data, d[0] * c->rows * c->columns};
    if (c->is_copied) {
        copy_input(c, d, in->data);
        work.source = (const uint8_t *)c->copy;
    }
    if (kernels->spread != NULL) {
        kernels->spread(c->copy, (size_t)d[0] * (size_t)c->padded_h * (size_t)c->padded_w * (size_t)d[3], c->ahead, c->spread);
        work.source = c->spread;
    }
    pool_run(pool_threads(pool) <= c->threads ? pool : NULL, run_part, &work, (work.total + c->run - 1) / c->run);
}
