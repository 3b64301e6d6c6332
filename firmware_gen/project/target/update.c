#include "update.h"

#include <string.h>

#include "board_config.h"
#include "frames.h"
#include "slots.h"

/* What an image says of itself, in its last bytes. */
typedef struct {
    uint32_t magic;
    uint32_t run_address;
    char board[MG_IMAGE_INFO_BYTES - 8u];
} image_info;
_Static_assert(sizeof(image_info) == MG_IMAGE_INFO_BYTES && sizeof BOARD_NAME <= sizeof((image_info *)0)->board,
               "the format of core/serial_protocol.py");

#if defined(__arm__) || defined(__riscv)
extern uint8_t __flash_start[];
__attribute__((section(".image_info"), used)) static const struct {
    uint32_t magic;
    const uint8_t *run_address;
    char board[sizeof((image_info *)0)->board];
} info = {MG_IMAGE_MAGIC, __flash_start, BOARD_NAME};
#endif

static uint32_t slot, length, crc, written, erased, sequence;
static uint32_t held; /* Bytes of a word that is not whole yet. */
static uint8_t word[4];

static int32_t failed(uint32_t code) {
    length = 0;
    return -(int32_t)code;
}

static int is_for(const uint8_t *bytes, uint32_t number) {
    image_info wanted = {MG_IMAGE_MAGIC, slot_run_address(number), BOARD_NAME};
    return memcmp(bytes, &wanted, sizeof wanted) == 0;
}

/* Which slot the processor is in, where it runs in one: with a header that was half written, another could be read. */
static uint32_t running_slot(void) {
#if defined(SLOTS_IN_PLACE) && (defined(__arm__) || defined(__riscv))
    return (uint32_t)(uintptr_t)__flash_start == slot_run_address(1) ? 1 : 0;
#else
    slot_header header;
    return slot_to_run(&header);
#endif
}

static int write_header(uint32_t number, const slot_header *header) {
    const uint32_t words[] = {header->magic, header->sequence, header->length, header->image_crc, header->header_crc};
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (flash_program(slot_start(number) + 4u * i, words[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A header whose last word was cut off may read whole at one start and not at the next. Written once more it is firm. */
static int32_t make_firm(uint32_t running, slot_header *header) {
    uint32_t tries = 32;
    while (!slot_header_of(running, header)) {
        if (--tries == 0) {
            return -(int32_t)MG_ERROR_NOT_IN_SLOT;
        }
    }
    return write_header(running, header) == 0 && slot_is_valid(running, header) ? 0 : -(int32_t)MG_ERROR_FLASH_FAILED;
}

static int make_room(uint32_t end) {
    while (erased < end) {
        if (flash_erase(slot_start(slot) + erased) != 0) {
            return -1;
        }
        erased += flash_sector_bytes(slot_start(slot) + erased);
    }
    return 0;
}

int32_t update_slots(uint8_t *out) {
    slot_header header = {0, 0, 0, 0, 0}, next;
    const uint32_t running = running_slot();
    /* What gives way to another image at the next start is not told: whoever wants it has to write it again. */
    if (running != SLOT_NONE && (!slot_header_of(running, &header) || slot_to_run(&next) != running)) {
        header.length = 0;
    }
    uint8_t *p = out;
    *p++ = (uint8_t)running;
    p = mg_put32(p, slot_run_address(running == 0 ? 1 : 0));
    p = mg_put32(p, SLOT_IMAGE_BYTES);
    p = mg_put32(p, header.length);
    p = mg_put32(p, header.image_crc);
    return (int32_t)(p - out);
}

int32_t update_begin(const uint8_t *in, uint8_t *out) {
    const uint32_t new_length = mg_get32(in), running = running_slot();
    const uint32_t other = running == 0 ? 1 : 0;
    length = 0;
    if (new_length < sizeof(image_info) || new_length > SLOT_IMAGE_BYTES) {
        return failed(MG_ERROR_WRONG_IMAGE);
    }
    if (!is_for(in + 8, other)) {
        return failed(MG_ERROR_OTHER_IMAGE);
    }
    sequence = 1;
    if (running != SLOT_NONE) {
        /* Only then the other slot may go. */
        slot_header header;
        const int32_t status = make_firm(running, &header);
        if (status != 0) {
            return status;
        }
        sequence = header.sequence + 1u;
    }
    slot = other;
    crc = mg_get32(in + 4);
    written = 0;
    held = 0;
    erased = 0;
    /* The header goes first: from here on the slot is not valid until it is complete again. What reads as erased is
       erased all the same, since an erase that was cut off leaves bits that do not stay. */
    if (make_room(1) != 0) {
        return failed(MG_ERROR_FLASH_FAILED);
    }
    length = new_length;
    out[0] = (uint8_t)slot;
    return 1;
}

static int put_word(void) {
    const uint32_t address = SLOT_HEADER_BYTES + written - held;
    held = 0;
    return make_room(address + 4u) != 0 ? -1 : flash_program(slot_start(slot) + address, mg_get32(word));
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
    const uint32_t whole = length;
    length = 0;
    if (held > 0) {
        written += 4u - held;
        for (; held < 4u; held++) {
            word[held] = 0xff;
        }
        if (put_word() != 0) {
            return -(int32_t)MG_ERROR_FLASH_FAILED;
        }
    }
    if (mg_crc32(0, slot_image(slot), whole) != crc) {
        return -(int32_t)MG_ERROR_WRONG_IMAGE;
    }
    if (!is_for(slot_image(slot) + whole - sizeof(image_info), slot)) {
        return -(int32_t)MG_ERROR_OTHER_IMAGE;
    }
    slot_header header = {SLOT_MAGIC, sequence, whole, crc, 0};
    header.header_crc = mg_crc32(0, (const uint8_t *)&header, sizeof header - 4u);
    if (write_header(slot, &header) != 0) {
        return -(int32_t)MG_ERROR_FLASH_FAILED;
    }
    return slot_to_run(&header) == slot ? 0 : -(int32_t)MG_ERROR_FLASH_FAILED;
}
