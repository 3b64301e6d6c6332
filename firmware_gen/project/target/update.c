#include "update.h"

#include "board_config.h"
#include "frames.h"
#include "slots.h"

static uint32_t slot, length, crc, written, running;
static uint32_t held; /* Bytes of a word that is not whole yet. */
static uint8_t word[4];

static int32_t failed(uint32_t code) {
    length = 0;
    return -(int32_t)code;
}

int32_t update_begin(uint32_t new_length, uint32_t new_crc, uint8_t *out) {
    if (new_length == 0 || new_length > SLOT_BYTES - SECTOR_BYTES) {
        return failed(MG_ERROR_WRONG_IMAGE);
    }
    running = slot_to_run();
    slot = running == 0 ? 1 : 0;
    length = new_length;
    crc = new_crc;
    written = 0;
    held = 0;
    /* The header goes first: from here on the slot is not valid until it is complete again. */
    for (uint32_t address = 0; address < SECTOR_BYTES + length; address += SECTOR_BYTES) {
        if (flash_erase(slot * SLOT_BYTES + address) != 0) {
            return failed(MG_ERROR_FLASH_FAILED);
        }
    }
    out[0] = (uint8_t)slot;
    return 1;
}

static int put_word(void) {
    const uint32_t address = slot * SLOT_BYTES + SECTOR_BYTES + written - held;
    held = 0;
    return flash_program(address, mg_get32(word));
}

int32_t update_write(uint32_t offset, const uint8_t *bytes, uint32_t count) {
    if (length == 0 || offset != written || count > length - written) {
        return -(int32_t)MG_ERROR_OUT_OF_RANGE;
    }
    for (uint32_t i = 0; i < count; i++) {
        word[held++] = bytes[i];
        written++;
        if (held == 4u && put_word() != 0) {
            return failed(MG_ERROR_FLASH_FAILED);
        }
    }
    return 0;
}

int32_t update_commit(void) {
    if (length == 0 || written != length) {
        return failed(MG_ERROR_WRONG_IMAGE);
    }
    if (held > 0) {
        for (uint32_t i = held; i < 4u; i++) {
            word[i] = 0xff;
        }
        if (put_word() != 0) {
            return failed(MG_ERROR_FLASH_FAILED);
        }
    }
    if (mg_crc32(0, slot_image(slot), length) != crc) {
        return failed(MG_ERROR_WRONG_IMAGE);
    }
    slot_header header = {SLOT_MAGIC, running == SLOT_NONE ? 1u : slot_header_of(running)->sequence + 1u, length, crc, 0};
    header.header_crc = mg_crc32(0, (const uint8_t *)&header, sizeof header - 4u);
    const uint32_t words[] = {header.magic, header.sequence, header.length, header.image_crc, header.header_crc};
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (flash_program(slot * SLOT_BYTES + 4u * i, words[i]) != 0) {
            return failed(MG_ERROR_FLASH_FAILED);
        }
    }
    length = 0;
    return slot_to_run() == slot ? 0 : -(int32_t)MG_ERROR_FLASH_FAILED;
}
