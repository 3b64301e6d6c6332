/* Boxes out of a detector's int8 outputs: which candidates count, where they lie, and which show the same thing. The
   tables, made by multigraft's Python, hold its exponentials; what is computed here has the bits of numpy's float32. */
#ifndef MG_BOXES_H
#define MG_BOXES_H

#include "mg_crop.h"

/* Numbers of candidates: of candidate i the number k lies at base + i * step + k * next. Real values stand in a table of
   256 (a place in the constants; -1: scale and zero point say them); table[1] holds those of raw scores. */
typedef struct {
    int32_t tensor; /* -1: all are 0 */
    int32_t base, step, next, zero_point;
    float scale;
    int32_t table[2];
} mg_field;

/* Candidates in a row that are alike. Their points lie on a grid: columns, each so many candidates, from start on. */
typedef struct {
    int32_t count, start, columns, each;
    mg_field scores, object, first, second;
    int32_t least[2];     /* stored object, or score without one, from which a candidate counts */
    int32_t raw_below[2]; /* a stored score, or object, below says that scores are raw */
    int32_t xs, ys;       /* places in the constants: of each column and each row */
    int32_t sides;        /* of each of the candidates of a cell 4: what first and second are multiplied by */
    float stride;         /* what points are multiplied by at last */
} mg_level;

enum { MG_CORNERS, MG_SIZES, MG_CENTRES, MG_POINTS, MG_DISTANCES };
enum { MG_ALL, MG_BEST, MG_MEAN }; /* What is left of boxes that overlap. */

typedef struct {
    const mg_level *levels;
    int32_t level_count, form, classes, cells, capacity;
    int32_t raw;      /* 1: scores are raw whatever they tell */
    int32_t peaks;    /* each class is a map, and candidates are what no neighbour exceeds */
    int32_t left;     /* of boxes that overlap: MG_ALL... */
    int32_t most;
    float least, overlap;
    float wide, high;           /* what coordinates are multiplied by */
    float edge_wide, edge_high; /* where boxes end before they are compared; 0: nowhere */
} mg_finder;

typedef struct {
    float score;
    uint32_t place;
} mg_candidate;

MG_INLINE float mg_constant(const void *constants, int32_t at)
{
    float value;
    memcpy(&value, (const int8_t *)constants + 4 * at, sizeof value);
    return value;
}

MG_INLINE int32_t mg_stored_at(const mg_field *f, const int8_t *const *data, int32_t i, int32_t k)
{
    return data[f->tensor][f->base + i * f->step + k * f->next];
}

MG_INLINE float mg_value(const mg_field *f, const int8_t *const *data, const void *constants, int32_t raw, int32_t i,
                         int32_t k)
{
    if (f->tensor < 0)
        return 0.0f;
    const int32_t stored = mg_stored_at(f, data, i, k);
    if (f->table[raw] >= 0)
        return mg_constant(constants, f->table[raw] + 128 + stored);
    return mg_mul32((float)(stored - f->zero_point), f->scale);
}

/* Whether a score is so low that scores are no probabilities. */
MG_KERNEL int32_t mg_are_raw(const mg_finder *f, const int8_t *const *data)
{
    for (int32_t n = 0; n < f->level_count; n++) {
        const mg_level *const level = &f->levels[n];
        for (int32_t i = 0; i < level->count; i++) {
            if (level->object.tensor >= 0 && mg_stored_at(&level->object, data, i, 0) < level->raw_below[1])
                return 1;
            for (int32_t k = 0; level->raw_below[0] > -128 && k < f->classes; k++)
                if (mg_stored_at(&level->scores, data, i, k) < level->raw_below[0])
                    return 1;
        }
    }
    return 0;
}

/* Whether no neighbour in the map of class k exceeds cell i; of equal ones the first. */
MG_KERNEL int32_t mg_is_peak(const mg_level *level, const int8_t *const *data, int32_t i, int32_t k)
{
    const int32_t row = i / level->columns, column = i % level->columns, rows = level->count / level->columns;
    const int32_t value = mg_stored_at(&level->scores, data, i, k);
    for (int32_t y = mg_max(row - 1, 0); y <= mg_min(row + 1, rows - 1); y++) {
        for (int32_t x = mg_max(column - 1, 0); x <= mg_min(column + 1, level->columns - 1); x++) {
            const int32_t there = y * level->columns + x, other = mg_stored_at(&level->scores, data, there, k);
            if (other > value || (other == value && there < i))
                return 0;
        }
    }
    return 1;
}

MG_INLINE int32_t mg_before(const mg_candidate *a, const mg_candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->place < b->place);
}

MG_KERNEL void mg_sink(mg_candidate *heap, int32_t at, int32_t count)
{
    for (;;) {
        int32_t best = at;
        for (int32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (mg_before(&heap[child], &heap[best]))
                best = child;
        if (best == at)
            return;
        const mg_candidate moved = heap[at];
        heap[at] = heap[best];
        heap[best] = moved;
        at = best;
    }
}

/* Candidates that count, unsorted; returns how many. */
MG_KERNEL int32_t mg_collect(const mg_finder *f, const int8_t *const *data, const void *constants, int32_t raw,
                             mg_candidate *found)
{
    int32_t count = 0, before = 0;
    for (int32_t n = 0; n < f->level_count; before += f->levels[n].count, n++) {
        const mg_level *const level = &f->levels[n];
        const int32_t has_object = level->object.tensor >= 0;
        for (int32_t i = 0; i < level->count; i++) {
            const float object = has_object ? mg_value(&level->object, data, constants, raw, i, 0) : 1.0f;
            if (has_object && mg_stored_at(&level->object, data, i, 0) < level->least[raw])
                continue;
            float best = 0.0f;
            int32_t best_class = -1;
            for (int32_t k = 0; k < f->classes && count < f->capacity; k++) {
                if (!has_object && mg_stored_at(&level->scores, data, i, k) < level->least[raw])
                    continue;
                float score = mg_value(&level->scores, data, constants, raw, i, k);
                if (has_object)
                    score = mg_mul32(score, object);
                if (!f->peaks && (best_class < 0 || score > best)) {
                    best = score;
                    best_class = k;
                } else if (f->peaks && mg_is_peak(level, data, i, k)) {
                    found[count].score = score < 1.0f ? score : 1.0f;
                    found[count++].place = (uint32_t)(k * f->cells + i);
                }
            }
            if (best_class >= 0 && (!has_object || best >= f->least)) {
                found[count].score = best < 1.0f ? best : 1.0f;
                found[count++].place = (uint32_t)((before + i) * f->classes + best_class);
            }
        }
    }
    return count;
}

/* The box of a candidate in pixels of the network input; 0 if its coordinates are no numbers. */
MG_KERNEL int32_t mg_box(const mg_finder *f, const int8_t *const *data, const void *constants, int32_t raw, int32_t cell,
                         float *box)
{
    const mg_level *level = f->levels;
    for (; cell >= level->count; level++)
        cell -= level->count;
    for (int32_t axis = 0; axis < 2; axis++) {
        const float a = mg_value(&level->first, data, constants, raw, cell, axis);
        const float b = mg_value(&level->second, data, constants, raw, cell, axis);
        float low = a, high = b;
        if (f->form == MG_SIZES)
            high = mg_add32(a, b);
        if (f->form >= MG_CENTRES) {
            float middle = a, before = b, after = b;
            if (f->form >= MG_POINTS) {
                const int32_t grid = (level->start + cell) / level->each;
                const int32_t side = level->sides + 4 * ((level->start + cell) % level->each) + axis;
                middle = mg_constant(constants, axis == 0 ? level->xs + grid % level->columns
                                                          : level->ys + grid / level->columns);
                const float moved = mg_mul32(a, mg_constant(constants, side));
                after = mg_mul32(b, mg_constant(constants, side + 2));
                before = moved;
                if (f->form == MG_POINTS)
                    middle = mg_mul32(mg_add32(moved, middle), level->stride);
            }
            if (f->form != MG_DISTANCES)
                before = after = mg_mul32(after, 0.5f);
            low = mg_sub32(middle, before);
            high = mg_add32(middle, after);
        }
        const float by = axis == 0 ? f->wide : f->high;
        const float edge = axis == 0 ? f->edge_wide : f->edge_high;
        box[axis] = mg_mul32(low, by);
        box[axis + 2] = mg_mul32(high, by);
        if (edge > 0.0f) {
            box[axis] = mg_within(box[axis], edge);
            box[axis + 2] = mg_within(box[axis + 2], edge);
        }
    }
    for (int32_t k = 0; k < 4; k++) {
        if ((mg_load(&box[k]) >> 23 & 255u) == 255u)
            return 0;
        box[k] = box[k] < -1e6f ? -1e6f : box[k] > 1e6f ? 1e6f : box[k];
    }
    return 1;
}

MG_INLINE float mg_side(float low, float high)
{
    const float side = mg_sub32(high, low);
    return side > 0.0f ? side : 0.0f;
}

MG_INLINE float mg_area(const float *box) { return mg_mul32(mg_side(box[0], box[2]), mg_side(box[1], box[3])); }

/* Whether what two boxes share is more than that share of what both cover. */
MG_KERNEL int32_t mg_overlap(const float *a, const float *b, float share)
{
    const float wide = mg_side(a[0] > b[0] ? a[0] : b[0], a[2] < b[2] ? a[2] : b[2]);
    const float high = mg_side(a[1] > b[1] ? a[1] : b[1], a[3] < b[3] ? a[3] : b[3]);
    const float inner = mg_mul32(wide, high);
    return inner > mg_mul32(share, mg_sub32(mg_add32(mg_area(a), mg_area(b)), inner));
}

/* Makes a heap a list by rising score, without those whose boxes are no numbers; returns how many there are. */
MG_KERNEL int32_t mg_sort(const mg_finder *f, const int8_t *const *data, const void *constants, int32_t raw,
                          mg_candidate *heap, int32_t count)
{
    float box[4];
    int32_t sound = 0;
    for (int32_t last = count - 1; last > 0; last--) {
        const mg_candidate best = heap[0];
        heap[0] = heap[last];
        heap[last] = best;
        mg_sink(heap, 0, last);
    }
    for (int32_t at = 0; at < count; at++)
        if (mg_box(f, data, constants, raw, (int32_t)heap[at].place / f->classes, box))
            heap[sound++] = heap[at];
    return sound;
}

/* The mean of all candidates whose boxes overlap that of the best one, by their scores; they are taken out of the
   left ones, which lie by rising score. Returns how many are left. */
MG_KERNEL int32_t mg_mean_box(const mg_finder *f, const int8_t *const *data, const void *constants, int32_t raw,
                          mg_candidate *sorted, int32_t left, float *mean)
{
    float best[4], other[4], sum = 0.0f;
    int32_t kept = left - 1;
    mg_box(f, data, constants, raw, (int32_t)sorted[left - 1].place / f->classes, best);
    const float area = mg_area(best);
    /* From the best on: what overlaps goes to the end, in its order. */
    for (int32_t at = left - 2; at >= 0; at--) {
        mg_box(f, data, constants, raw, (int32_t)sorted[at].place / f->classes, other);
        const float wide = mg_side(best[0] > other[0] ? best[0] : other[0], best[2] < other[2] ? best[2] : other[2]);
        const float high = mg_side(best[1] > other[1] ? best[1] : other[1], best[3] < other[3] ? best[3] : other[3]);
        const float shared = mg_mul32(wide, high), all = mg_sub32(mg_add32(mg_area(other), area), shared);
        if (mg_div32(shared, all > 1e-9f ? all : 1e-9f) > f->overlap) {
            const mg_candidate moved = sorted[at];
            kept--;
            for (int32_t n = at; n < kept; n++)
                sorted[n] = sorted[n + 1];
            sorted[kept] = moved;
        }
    }
    for (int32_t at = left - 1; at >= kept; at--)
        sum = at == left - 1 ? sorted[at].score : mg_add32(sum, sorted[at].score);
    for (int32_t at = left - 1; at >= kept; at--) {
        const float weight = mg_div32(sorted[at].score, sum);
        mg_box(f, data, constants, raw, (int32_t)sorted[at].place / f->classes, other);
        for (int32_t k = 0; k < 4; k++) {
            const float term = mg_mul32(weight, other[k]);
            mean[k] = at == left - 1 ? term : mg_add32(mean[k], term);
        }
    }
    return kept;
}

/* Adds what is found on a part of the frame to boxes and their count, by falling score.

   data: the outputs. within: number of the box that the part shows, or -1. scratch: capacity candidates. */
MG_KERNEL void mg_find(const mg_finder *f, const int8_t *const *data, const void *constants, const mg_view *view,
                       const mg_part *part, int32_t within, int8_t *boxes, int8_t *counts, void *scratch)
{
    mg_candidate *const found = scratch;
    const int32_t raw = f->raw || mg_are_raw(f, data), there = mg_number(counts, 0);
    int32_t left = mg_collect(f, data, constants, raw, found), count = 0;
    int8_t *const rows = boxes + there * MG_BOX_BYTES;
    for (int32_t at = left / 2 - 1; at >= 0; at--)
        mg_sink(found, at, left);
    if (f->left == MG_MEAN)
        left = mg_sort(f, data, constants, raw, found, left);
    while (left > 0 && count < f->most) {
        float row[MG_BOX_FLOATS];
        const mg_candidate best = f->left == MG_MEAN ? found[left - 1] : found[0];
        const int32_t place = (int32_t)best.place;
        int32_t is_new = 1;
        row[4] = best.score;
        row[5] = (float)(f->peaks ? place / f->cells : place % f->classes);
        row[6] = (float)within;
        if (f->left == MG_MEAN) {
            left = mg_mean_box(f, data, constants, raw, found, left, row);
        } else {
            found[0] = found[--left];
            mg_sink(found, 0, left);
            is_new = mg_box(f, data, constants, raw, f->peaks ? place % f->cells : place / f->classes, row);
            for (int32_t k = 0; k < count && is_new && f->left == MG_BEST; k++) {
                float other[MG_BOX_FLOATS];
                memcpy(other, rows + k * MG_BOX_BYTES, sizeof other);
                is_new = other[5] != row[5] || !mg_overlap(other, row, f->overlap);
            }
        }
        if (is_new)
            memcpy(rows + count++ * MG_BOX_BYTES, row, sizeof row);
    }
    for (int32_t k = 0; k < count; k++) {
        float row[MG_BOX_FLOATS];
        memcpy(row, rows + k * MG_BOX_BYTES, sizeof row);
        mg_on_frame(view, part, row);
        memcpy(rows + k * MG_BOX_BYTES, row, sizeof row);
    }
    const int32_t all = there + count;
    memcpy(counts, &all, sizeof all);
}

#endif
