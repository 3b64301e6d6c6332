/* Parts of a frame as network inputs, and boxes in pixels of the frame: the bits of multigraft's Python. */
#ifndef MG_CROP_H
#define MG_CROP_H

#include "mg_common.h"
#include "mg_real.h"

/* As in mg_real.h. */
MG_KERNEL double mg_add64(double a, double b) { return a + b; }
MG_KERNEL double mg_sub64(double a, double b) { return a - b; }
MG_KERNEL double mg_mul64(double a, double b) { return a * b; }
MG_KERNEL double mg_div64(double a, double b) { return a / b; }

enum { MG_STRETCH, MG_FIT, MG_FILL, MG_CORNER, MG_LINE };

/* What a network sees of a part of the frame. */
typedef struct {
    int32_t height, width, channels;
    int32_t frame_height, frame_width, frame_channels;
    int32_t resize, nearest, reverse;
    int32_t padding[3]; /* of each channel */
    double margin; /* around boxes, as a share of them */
} mg_view;

typedef struct {
    int32_t left, top, width, height;
} mg_part;

/* left, top, right, bottom, score, index of the class, number of the box it was found in or -1 */
enum { MG_BOX_FLOATS = 7, MG_BOX_BYTES = 28 };

MG_INLINE int32_t mg_floor(double x)
{
    const int32_t n = (int32_t)x;
    return n - ((double)n > x);
}

MG_INLINE int32_t mg_number(const int8_t *numbers, int32_t at) { return (int32_t)mg_load(numbers + 4 * at); }

/* The part that a network sees: of the box whose number crops[1 + at] is, or of the whole frame where there are no
   boxes. Returns that number, or -1. */
MG_KERNEL int32_t mg_part_of(const mg_view *v, const int8_t *boxes, const int8_t *crops, int32_t at, mg_part *part)
{
    const mg_part whole = {0, 0, v->frame_width, v->frame_height};
    *part = whole;
    if (boxes == NULL)
        return -1;
    const int32_t number = mg_number(crops, 1 + at);
    float box[4];
    memcpy(box, boxes + number * MG_BOX_BYTES, sizeof box);
    int32_t low[2], high[2];
    for (int32_t axis = 0; axis < 2; axis++) {
        const int32_t size = axis == 0 ? v->frame_width : v->frame_height;
        const double from = (double)box[axis], to = (double)box[axis + 2];
        const double more = mg_mul64(v->margin, mg_sub64(to, from));
        low[axis] = mg_min(mg_max(mg_floor(mg_sub64(from, more)), 0), size - 1);
        high[axis] = mg_max(mg_min(-mg_floor(-mg_add64(to, more)), size), low[axis] + 1);
    }
    part->left = low[0];
    part->top = low[1];
    part->width = high[0] - low[0];
    part->height = high[1] - low[1];
    return number;
}

/* length * numerator / denominator, rounded half up, at least 1 */
MG_INLINE int32_t mg_ratio(int32_t length, int32_t numerator, int32_t denominator)
{
    return mg_max(1, (2 * length * numerator + denominator) / (2 * denominator));
}

/* Which part of a picture of so many pixels fills which part of the input. */
MG_KERNEL void mg_regions(const mg_view *v, int32_t height, int32_t width, mg_part *from, mg_part *to)
{
    const mg_part all = {0, 0, width, height}, input = {0, 0, v->width, v->height};
    *from = all;
    *to = input;
    if (v->resize == MG_STRETCH || (height == v->height && width == v->width))
        return;
    const int32_t wide = height * v->width < v->height * width;
    if (v->resize == MG_FILL) {
        if (wide)
            from->width = mg_min(width, mg_ratio(height, v->width, v->height));
        else
            from->height = mg_min(height, mg_ratio(width, v->height, v->width));
        from->left = (width - from->width) / 2;
        from->top = (height - from->height) / 2;
    } else if (v->resize == MG_LINE) {
        to->width = mg_min(v->width, (v->height * width + height - 1) / height);
    } else {
        if (wide)
            to->height = mg_ratio(v->width, height, width);
        else
            to->width = mg_ratio(v->height, width, height);
        if (v->resize == MG_FIT) {
            to->left = (v->width - to->width) / 2;
            to->top = (v->height - to->height) / 2;
        }
    }
}

/* So many pixels of a picture are so many of the input. */
typedef struct {
    int32_t source, target;
} mg_scale;

/* From top to bottom (axis 1) or from left to right (axis 0). In a corner both are that of the longer side: the
   picture's border may lie within a pixel of the input. */
MG_INLINE mg_scale mg_scale_of(const mg_view *v, const mg_part *from, const mg_part *to, int32_t axis)
{
    const int32_t wide = from->height * v->width < v->height * from->width;
    const int32_t is_of_rows = v->resize == MG_CORNER ? !wide : axis;
    const mg_scale rows = {from->height, v->resize == MG_CORNER ? v->height : to->height};
    const mg_scale columns = {from->width, v->resize == MG_CORNER ? v->width : to->width};
    return is_of_rows ? rows : columns;
}

typedef struct {
    int32_t low, high, weight; /* of high, in 1/2048 */
} mg_between;

/* Between which of size pixels of a row the pixel i of the input lies. */
MG_INLINE mg_between mg_source(int32_t i, mg_scale scale, int32_t size, int32_t nearest)
{
    mg_between at = {0, 0, 0};
    if (nearest) {
        at.low = at.high = mg_min((2 * i + 1) * scale.source / (2 * scale.target), size - 1);
        return at;
    }
    const int32_t twice = 2 * scale.target;
    const int32_t centre = mg_min(mg_max((2 * i + 1) * scale.source - scale.target, 0), twice * (size - 1));
    at.low = centre / twice;
    at.high = mg_min(at.low + 1, size - 1);
    at.weight = (2 * (centre - twice * at.low) * 2048 + twice) / (2 * twice);
    return at;
}

/* A channel of a pixel of the frame, as the network orders them; grey is ITU-R BT.601 luma in 16 bits. */
MG_INLINE int32_t mg_colour(const mg_view *v, const uint8_t *pixel, int32_t channel)
{
    if (v->frame_channels == 1)
        return pixel[0];
    if (v->channels == 1)
        return (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 0x8000) >> 16;
    return pixel[v->reverse ? 2 - channel : channel];
}

/* tables: what the input stores for each of 256 values, channel after channel */
MG_KERNEL void mg_prepare(const mg_view *v, const void *tables, const int8_t *frame, const mg_part *part, int8_t *out)
{
    const int8_t *const stored = tables;
    const int32_t depth = v->frame_channels;
    mg_part from, to;
    mg_regions(v, part->height, part->width, &from, &to);
    const uint8_t *const pixels = (const uint8_t *)frame +
        ((part->top + from.top) * v->frame_width + part->left + from.left) * depth;
    const int32_t is_padded = to.height != v->height || to.width != v->width;
    const int32_t size = v->height * v->width * v->channels;
    for (int32_t i = 0; i < size && is_padded; i += v->channels)
        for (int32_t c = 0; c < v->channels; c++)
            out[i + c] = (int8_t)v->padding[c];
    const int32_t is_as_large = from.height == to.height && from.width == to.width;
    const mg_scale rows = mg_scale_of(v, &from, &to, 1), columns = mg_scale_of(v, &from, &to, 0);
    for (int32_t row = 0; row < to.height && is_as_large; row++) {
        const uint8_t *pixel = pixels + row * v->frame_width * depth;
        int8_t *result = out + ((to.top + row) * v->width + to.left) * v->channels;
        for (int32_t column = 0; column < to.width; column++, pixel += depth)
            for (int32_t c = 0; c < v->channels; c++)
                *result++ = stored[256 * c + mg_colour(v, pixel, c)];
    }
    for (int32_t row = 0; row < to.height && !is_as_large; row++) {
        const mg_between y = mg_source(row, rows, from.height, v->nearest);
        const uint8_t *const upper = pixels + y.low * v->frame_width * depth;
        const uint8_t *const lower = pixels + y.high * v->frame_width * depth;
        int8_t *result = out + ((to.top + row) * v->width + to.left) * v->channels;
        for (int32_t column = 0; column < to.width; column++) {
            const mg_between x = mg_source(column, columns, from.width, v->nearest);
            for (int32_t c = 0; c < v->channels; c++) {
                const int32_t a = mg_colour(v, upper + x.low * depth, c), b = mg_colour(v, upper + x.high * depth, c);
                const int32_t d = mg_colour(v, lower + x.low * depth, c), e = mg_colour(v, lower + x.high * depth, c);
                const int32_t above = a * (2048 - x.weight) + b * x.weight;
                const int32_t below = d * (2048 - x.weight) + e * x.weight;
                const int32_t sum = above * (2048 - y.weight) + below * y.weight + (1 << 21);
                *result++ = stored[256 * c + (sum >> 22)];
            }
        }
    }
}

MG_INLINE float mg_within(float x, float limit) { return !(x > 0.0f) ? 0.0f : x < limit ? x : limit; }

/* A box of the network input, which shows a part of the frame, in pixels of the frame: cut off at the part's border. */
MG_KERNEL void mg_on_frame(const mg_view *v, const mg_part *part, float *box)
{
    mg_part from, to;
    mg_regions(v, part->height, part->width, &from, &to);
    for (int32_t axis = 0; axis < 2; axis++) {
        const int32_t x = axis == 0;
        const mg_scale pixels = mg_scale_of(v, &from, &to, axis);
        const double scale = mg_div64(pixels.source, pixels.target);
        const double shift = mg_sub64(x ? from.left : from.top, mg_mul64(scale, x ? to.left : to.top));
        const float size = (float)(x ? part->width : part->height);
        const float frame = (float)(x ? v->frame_width : v->frame_height);
        const double start = x ? part->left : part->top;
        const float a = (float)mg_add64(mg_mul64((double)box[axis], scale), shift);
        const float b = (float)mg_add64(mg_mul64((double)box[axis + 2], scale), shift);
        const float low = mg_within(a < b ? a : b, size), high = mg_within(a < b ? b : a, size);
        box[axis] = mg_within((float)mg_add64((double)low, start), frame);
        box[axis + 2] = mg_within((float)mg_add64((double)high, start), frame);
    }
}

/* Whether more than so many microseconds have passed since a frame began; then the boxes from turn at on were not
   looked at. */
MG_KERNEL int32_t mg_late(uint32_t now, const int8_t *started, uint32_t limit, int32_t at, int8_t *crops)
{
    if (now - mg_load(started) <= limit)
        return 0;
    memset(crops + 4 * (at + 1), 0, 4 * (size_t)(mg_number(crops, 0) - at));
    memcpy(crops, &at, sizeof at);
    return 1;
}

MG_INLINE float mg_box_number(const int8_t *boxes, int32_t box, int32_t at)
{
    float value;
    memcpy(&value, boxes + box * MG_BOX_BYTES + 4 * at, sizeof value);
    return value;
}

/* The boxes of these classes (a bit each; NULL for all) with the highest scores, at most so many, equal ones in their
   order: their count, then their numbers. */
MG_KERNEL void mg_choose(const int8_t *boxes, const int8_t *counts, const uint32_t *classes, int32_t top, int8_t *crops)
{
    int32_t count = 0;
    memset(crops, 0, 4 * (size_t)(top + 1));
    for (int32_t box = 0; box < mg_number(counts, 0); box++) {
        const uint32_t index = (uint32_t)mg_box_number(boxes, box, 5);
        const float score = mg_box_number(boxes, box, 4);
        int32_t place = count;
        if (classes != NULL && (classes[index / 32] >> index % 32 & 1u) == 0)
            continue;
        while (place > 0 && score > mg_box_number(boxes, mg_number(crops, place), 4))
            place--;
        if (place == top)
            continue;
        count = mg_min(count + 1, top);
        for (int32_t at = count; at > place + 1; at--)
            memcpy(crops + 4 * at, crops + 4 * (at - 1), 4);
        memcpy(crops + 4 * (place + 1), &box, sizeof box);
    }
    memcpy(crops, &count, sizeof count);
}

#endif
