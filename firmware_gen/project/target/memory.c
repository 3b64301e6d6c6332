/* The functions gcc calls on its own, so that an image needs no C library. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *text);

typedef uint32_t __attribute__((may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0) {
        word *dw = to;
        const word *sw = from;
        for (; count >= 16; count -= 16, dw += 4, sw += 4) {
            const uint32_t a = sw[0], b = sw[1], c = sw[2], e = sw[3];
            dw[0] = a;
            dw[1] = b;
            dw[2] = c;
            dw[3] = e;
        }
        for (; count >= 4; count -= 4) {
            *dw++ = *sw++;
        }
        d = (uint8_t *)dw;
        s = (const uint8_t *)sw;
    }
    while (count-- > 0) {
        *d++ = *s++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((uintptr_t)d <= (uintptr_t)s) {
        while (count-- > 0) {
            *d++ = *s++;
        }
    } else {
        while (count-- > 0) {
            d[count] = s[count];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t count) {
    uint8_t *d = to;
    const uint8_t byte = (uint8_t)value;
    while (count > 0 && ((uintptr_t)d & 3u) != 0) {
        *d++ = byte;
        count--;
    }
    word *dw = (word *)(void *)d;
    const uint32_t four = byte * 0x01010101u;
    for (; count >= 4; count -= 4) {
        *dw++ = four;
    }
    d = (uint8_t *)dw;
    while (count-- > 0) {
        *d++ = byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t count) {
    const uint8_t *x = a;
    const uint8_t *y = b;
    for (; count > 0; count--, x++, y++) {
        if (*x != *y) {
            return *x < *y ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}
