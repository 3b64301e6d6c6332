#include "slots.h"

#include "board_config.h"
#include "frames.h"

const slot_header *slot_header_of(uint32_t slot) {
    return (const slot_header *)(const void *)flash_read(slot * SLOT_BYTES);
}

const uint8_t *slot_image(uint32_t slot) {
    return flash_read(slot * SLOT_BYTES + SECTOR_BYTES);
}

static int valid(uint32_t slot) {
    const slot_header *header = slot_header_of(slot);
    return header->magic == SLOT_MAGIC &&
           mg_crc32(0, (const uint8_t *)header, sizeof *header - 4u) == header->header_crc &&
           header->length <= SLOT_BYTES - SECTOR_BYTES &&
           mg_crc32(0, slot_image(slot), header->length) == header->image_crc;
}

uint32_t slot_to_run(void) {
    const int first = valid(0), second = valid(1);
    if (first && second) {
        /* The difference, so that the numbers may wrap. */
        return (int32_t)(slot_header_of(1)->sequence - slot_header_of(0)->sequence) > 0 ? 1 : 0;
    }
    return first ? 0 : second ? 1 : SLOT_NONE;
}
