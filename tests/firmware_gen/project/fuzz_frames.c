/* Feeds the frame parser with random bytes, mutated frames and whole frames; checks what must hold of every frame. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

static uint64_t state;
static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static uint8_t wire[1024];
static uint32_t wire_length;
static void put(uint8_t byte) {
    if (wire_length == sizeof wire) {
        abort();
    }
    wire[wire_length++] = byte;
}

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

/* Bit by bit and without a table. */
static uint32_t crc_of(const mg_frame *frame) {
    uint8_t bytes[MG_MAX_FRAME] = {frame->version, frame->kind, (uint8_t)frame->sequence, (uint8_t)(frame->sequence >> 8)};
    memcpy(bytes + MG_HEADER_BYTES, frame->payload, frame->length);
    uint32_t crc = 0xffffffffu;
    for (uint32_t i = 0; i < MG_HEADER_BYTES + frame->length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void check(const mg_frame *frame) {
    require(frame->length <= MG_MAX_PAYLOAD, "longer than a frame");
    require(crc_of(frame) == frame->crc, "a damaged frame was taken");
}

int main(int count, char **arguments) {
    const long inputs = count > 1 ? atol(arguments[1]) : 10000;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    /* On the heap, so that the sanitiser sees the first byte behind it. */
    mg_decoder *decoder = calloc(1, sizeof *decoder);
    uint8_t payload[MG_MAX_PAYLOAD];
    long whole = 0, damaged = 0;
    for (long i = 0; i < inputs; i++) {
        const uint32_t kind = next() % 4;
        mg_frame frame;
        if (kind == 0) { /* Noise, sometimes without any 0, sometimes mostly 0. */
            const uint32_t length = next() % 700, zeros = next() % 3;
            for (uint32_t k = 0; k < length; k++) {
                const uint8_t byte = (uint8_t)(zeros == 0 ? next() | 1 : zeros == 1 ? next() & next() & next() : next());
                if (mg_decode(decoder, byte, &frame)) {
                    check(&frame);
                }
            }
            continue;
        }
        const uint32_t length = next() % (MG_MAX_PAYLOAD + 1);
        const uint32_t mask = next() % 4 == 0 ? 0 : 0xff;
        for (uint32_t k = 0; k < length; k++) {
            payload[k] = (uint8_t)(next() & mask);
        }
        const uint8_t type = (uint8_t)next();
        const uint16_t sequence = (uint16_t)next();
        wire_length = 0;
        put(0);
        mg_encode(type, sequence, payload, length, put);
        require(wire_length <= MG_MAX_ENCODED + 2, "longer than announced");
        if (kind == 1) { /* Damaged: flipped, cut or lengthened. */
            const uint32_t flips = 1 + next() % 8;
            for (uint32_t k = 0; k < flips; k++) {
                wire[next() % wire_length] = (uint8_t)next();
            }
            wire_length -= next() % 2 != 0 ? next() % wire_length : 0;
            damaged++;
        }
        int got = 0;
        for (uint32_t k = 0; k < wire_length; k++) {
            if (mg_decode(decoder, wire[k], &frame)) {
                check(&frame);
                if (kind != 1) {
                    got++;
                    if (k == wire_length - 1) {
                        require(frame.kind == type && frame.sequence == sequence && frame.version == MG_VERSION &&
                                    frame.length == length && memcmp(frame.payload, payload, length) == 0,
                                "another frame than was sent");
                    }
                }
            }
        }
        if (kind != 1) {
            require(got >= 1, "a whole frame was not found");
            whole++;
        }
    }
    printf("%ld whole, %ld damaged\n", whole, damaged);
    free(decoder);
    return 0;
}
