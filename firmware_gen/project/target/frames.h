/* COBS frames with CRC-32; plain C11 without any dependency, so that hosts can fuzz it. The format is described in
   core/serial_protocol.py. */
#ifndef MG_FRAMES_H
#define MG_FRAMES_H
#include <stddef.h>
#include <stdint.h>
#include "protocol.h"

typedef struct {
    uint8_t version;
    uint8_t kind;
    uint16_t sequence;
    uint32_t crc;
    const uint8_t *payload; /* Valid until the next byte is fed. */
    uint32_t length;
} mg_frame;

typedef struct {
    uint32_t fill;
    uint8_t bytes[MG_MAX_ENCODED];
} mg_decoder;

/* Feeds one byte; 1 if it completed a frame. A piece that is none is dropped; the next one starts after a 0 byte. */
int mg_decode(mg_decoder *decoder, uint8_t byte, mg_frame *frame);

/* Calls put for every byte of an encoded frame; length is at most MG_MAX_PAYLOAD. */
void mg_encode(uint8_t kind, uint16_t sequence, const uint8_t *payload, uint32_t length, void (*put)(uint8_t byte));

uint32_t mg_crc32(uint32_t crc, const uint8_t *bytes, uint32_t length); /* Start with 0. */

static inline uint32_t mg_get32(const uint8_t *p) {
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static inline uint8_t *mg_put32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        *p++ = (uint8_t)(value >> (8 * i));
    }
    return p;
}

static inline uint8_t *mg_put64(uint8_t *p, uint64_t value) {
    return mg_put32(mg_put32(p, (uint32_t)value), (uint32_t)(value >> 32));
}

#endif
