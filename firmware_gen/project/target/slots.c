#include "slots.h"

#include <string.h>

#include "board_config.h"
#include "frames.h"

uint32_t slot_start(uint32_t slot) {
    static const uint32_t starts[] = SLOT_STARTS;
    return starts[slot];
}

uint32_t slot_run_address(uint32_t slot) {
#if defined(SLOTS_IN_PLACE)
    return SLOT_BASE + slot_start(slot) + SLOT_HEADER_BYTES;
#else
    (void)slot;
    return LOAD_ADDRESS;
#endif
}

const uint8_t *slot_image(uint32_t slot) {
    return flash_read(slot_start(slot) + SLOT_HEADER_BYTES);
}

int slot_header_of(uint32_t slot, slot_header *header) {
    memcpy(header, flash_read(slot_start(slot)), sizeof *header);
    return header->magic == SLOT_MAGIC &&
           mg_crc32(0, (const uint8_t *)header, sizeof *header - 4u) == header->header_crc &&
           header->length <= SLOT_IMAGE_BYTES;
}

int slot_is_valid(uint32_t slot, slot_header *header) {
    return slot_header_of(slot, header) && mg_crc32(0, slot_image(slot), header->length) == header->image_crc;
}

uint32_t slot_to_run(slot_header *header) {
    slot_header first, second;
    const int has_first = slot_header_of(0, &first), has_second = slot_header_of(1, &second);
    /* The difference, so that the numbers may wrap. */
    const uint32_t newer = has_second && (!has_first || (int32_t)(second.sequence - first.sequence) > 0) ? 1 : 0;
    if (slot_is_valid(newer, header)) {
        return newer;
    }
    return slot_is_valid(1u - newer, header) ? 1u - newer : SLOT_NONE;
}
