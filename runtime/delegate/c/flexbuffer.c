#include "flexbuffer.h"

#include <string.h>

/* https://flatbuffers.dev/internals: the root is the last element; a map is a vector whose length, key vector and that
 * one's width stand before it and whose element types stand behind it. */

enum { INT = 1, UINT = 2, MAP = 9, BOOL = 26 };

typedef struct {
    const uint8_t *data;
    size_t size;
} Bytes;

static bool number(Bytes b, size_t at, size_t width, uint64_t *value) {
    if (at > b.size || width > b.size - at || (width != 1 && width != 2 && width != 4 && width != 8)) return false;
    *value = 0;
    for (size_t i = 0; i < width; i++) *value |= (uint64_t)b.data[at + i] << (8 * i);
    return true;
}

/* The place that an element at `at` leads back to. */
static bool followed(Bytes b, size_t at, size_t width, size_t *place) {
    uint64_t step;
    if (!number(b, at, width, &step) || step > at) return false;
    *place = at - (size_t)step;
    return true;
}

bool flexbuffer_number(const uint8_t *data, size_t size, const char *key, int32_t *value) {
    const Bytes b = {data, size};
    size_t map, keys, name;
    uint64_t count, key_width, held;
    if (data == NULL || size < 3) return false;
    const size_t root_width = data[size - 1], type = data[size - 2], width = (size_t)1 << (type & 3);
    if (type >> 2 != MAP || root_width > 8 || root_width > size - 2) return false;
    if (!followed(b, size - 2 - root_width, root_width, &map) || map < 3 * width) return false;
    if (!number(b, map - width, width, &count) || count > size) return false;
    if (!number(b, map - 2 * width, width, &key_width) || key_width > 8) return false;
    if (!followed(b, map - 3 * width, width, &keys)) return false;
    const size_t types = map + (size_t)count * width, length = strlen(key) + 1;
    for (size_t i = 0; i < count; i++) {
        if (!followed(b, keys + i * (size_t)key_width, (size_t)key_width, &name)) return false;
        if (name > size || length > size - name || memcmp(data + name, key, length) != 0) continue;
        if (types + i >= size) return false;
        const unsigned kind = data[types + i] >> 2;
        if ((kind != INT && kind != UINT && kind != BOOL) || !number(b, map + i * width, width, &held)) return false;
        const unsigned shift = 64 - 8 * (unsigned)width;
        const int64_t wide = kind == INT ? (int64_t)(held << shift) >> shift : (int64_t)held;
        if (wide < INT32_MIN || wide > INT32_MAX) return false;
        *value = (int32_t)wide;
        return true;
    }
    return false;
}
