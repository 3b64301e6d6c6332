/* The options of a custom operator: a FlexBuffers map from names to whole numbers. */
#ifndef MULTIGRAFT_FLEXBUFFER_H
#define MULTIGRAFT_FLEXBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `data` is a map within `size` bytes that holds `key` with a whole number of 32 bits, which is then in *value. */
bool flexbuffer_number(const uint8_t *data, size_t size, const char *key, int32_t *value);

#endif
