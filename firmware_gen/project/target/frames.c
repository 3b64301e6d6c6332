#include "frames.h"

uint32_t mg_crc32(uint32_t crc, const uint8_t *bytes, uint32_t length) {
    /* A table of 16 entries: 64 bytes of flash, two steps per byte. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    crc = ~crc;
    for (uint32_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = table[crc & 15u] ^ (crc >> 4);
        crc = table[crc & 15u] ^ (crc >> 4);
    }
    return ~crc;
}

/* Decodes in place; the decoded bytes are never ahead of those read. Returns the length, 0 if it is no encoding. */
static uint32_t uncobs(uint8_t *bytes, uint32_t length) {
    uint32_t in = 0, out = 0;
    while (in < length) {
        const uint32_t code = bytes[in++];
        if (code - 1u > length - in) {
            return 0;
        }
        for (uint32_t i = 1; i < code; i++) {
            bytes[out++] = bytes[in++];
        }
        if (code != 255u && in < length) {
            bytes[out++] = 0;
        }
    }
    return out;
}

int mg_decode(mg_decoder *decoder, uint8_t byte, mg_frame *frame) {
    if (byte != 0) {
        if (decoder->fill < MG_MAX_ENCODED) {
            decoder->bytes[decoder->fill] = byte;
        }
        if (decoder->fill <= MG_MAX_ENCODED) { /* One more than fits marks the piece as too long. */
            decoder->fill++;
        }
        return 0;
    }
    const uint32_t fill = decoder->fill;
    decoder->fill = 0;
    if (fill == 0 || fill > MG_MAX_ENCODED) {
        return 0;
    }
    uint8_t *bytes = decoder->bytes;
    const uint32_t length = uncobs(bytes, fill);
    if (length < MG_HEADER_BYTES + 4u || length > MG_MAX_FRAME) {
        return 0;
    }
    const uint32_t body = length - 4u;
    const uint32_t crc = mg_get32(bytes + body);
    if (mg_crc32(0, bytes, body) != crc) {
        return 0;
    }
    frame->version = bytes[0];
    frame->kind = bytes[1];
    frame->sequence = (uint16_t)(bytes[2] | (bytes[3] << 8));
    frame->crc = crc;
    frame->payload = bytes + MG_HEADER_BYTES;
    frame->length = body - MG_HEADER_BYTES;
    return 1;
}

typedef struct {
    uint8_t group[254];
    uint32_t fill;
    void (*put)(uint8_t byte);
} encoder;

static void flush(encoder *e, uint8_t code) {
    e->put(code);
    for (uint32_t i = 0; i < e->fill; i++) {
        e->put(e->group[i]);
    }
    e->fill = 0;
}

static void push(encoder *e, const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        if (bytes[i] == 0) {
            flush(e, (uint8_t)(e->fill + 1u));
        } else {
            e->group[e->fill++] = bytes[i];
            if (e->fill == sizeof e->group) {
                flush(e, 255);
            }
        }
    }
}

void mg_encode(uint8_t kind, uint16_t sequence, const uint8_t *payload, uint32_t length, void (*put)(uint8_t byte)) {
    const uint8_t header[MG_HEADER_BYTES] = {MG_VERSION, kind, (uint8_t)sequence, (uint8_t)(sequence >> 8)};
    uint8_t crc[4];
    (void)mg_put32(crc, mg_crc32(mg_crc32(0, header, sizeof header), payload, length));
    encoder e;
    e.fill = 0;
    e.put = put;
    push(&e, header, sizeof header);
    push(&e, payload, length);
    push(&e, crc, sizeof crc);
    flush(&e, (uint8_t)(e.fill + 1u));
    put(0);
}
