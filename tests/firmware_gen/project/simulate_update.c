/* The updater on a flash whose power fails after a given number of operations, in the middle of one.

   Arguments: seed, bytes of the new image. For every point of failure there is, the update is cut off there, once with
   the operation half done; bits that were to change then read as they like, until they are written or erased again.
   slot_to_run has to name a slot that holds the old or the new image whole, and so it has to after a second update
   that is cut off, too. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board_config.h"
#include "frames.h"
#include "slots.h"
#include "update.h"

#define FLASH_BYTES (2u * SLOT_BYTES)
#define SECTOR 256u
#define HEADER_WORDS 5

static uint8_t flash[FLASH_BYTES] __attribute__((aligned(4)));
static uint8_t loose[FLASH_BYTES]; /* Bits that read as they like. */
static uint32_t loose_from, loose_to; /* Where there are any; 0 and 0 if there are none. */
static long operations_left;
static int torn;
static jmp_buf power_failure;
static uint64_t state;

static void loosen(uint32_t address, uint8_t bits) {
    loose[address] |= bits;
    loose_from = loose_to == 0 || address < loose_from ? address : loose_from;
    loose_to = address >= loose_to ? address + 1 : loose_to;
}

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

int flash_erase(uint32_t address) {
    const int fails = operations_left-- == 0;
    const uint32_t count = !fails ? SECTOR : torn ? next() % SECTOR : 0;
    memset(flash + address, 0xff, count);
    memset(loose + address, 0, count);
    if (fails && torn) {
        for (uint32_t i = 0; i < 64; i++) {
            loosen(address + next() % SECTOR, (uint8_t)next());
        }
    }
    if (fails) {
        longjmp(power_failure, 1);
    }
    return 0;
}

int flash_program(uint32_t address, uint32_t word) {
    const int fails = operations_left-- == 0;
    const int lateness = fails ? (int)(next() % 5u) : 0;
    uint8_t bytes[4];
    (void)mg_put32(bytes, word);
    for (int i = 0; i < 4; i++) {
        if (!fails) {
            flash[address + i] &= bytes[i]; /* Bits are only ever cleared. */
            loose[address + i] &= bytes[i];
        } else if (torn) {
            /* Early or late: all bits that change are loose, or one in two, four, eight or sixteen. */
            const uint8_t change = flash[address + i] & (uint8_t)~bytes[i];
            uint8_t early = change;
            for (int late = 0; late < lateness; late++) {
                early &= (uint8_t)next();
            }
            loosen(address + (uint32_t)i, early);
            flash[address + i] &= (uint8_t)~(change & ~early);
        }
    }
    if (fails) {
        longjmp(power_failure, 1);
    }
    return 0;
}

uint32_t flash_sector_bytes(uint32_t address) {
    (void)address;
    return SECTOR;
}

const uint8_t *flash_read(uint32_t address) {
    for (uint32_t i = loose_from; i < loose_to; i++) {
        if (loose[i] != 0) {
            flash[i] = (uint8_t)((flash[i] & ~loose[i]) | (next() & loose[i]));
        }
    }
    return flash + address;
}

static void update(const uint8_t *image, uint32_t length) {
    uint8_t in[MG_UPDATE_BEGIN_REQUEST_BYTES], out[MG_UPDATE_SLOTS_REPLY_BYTES];
    if (update_slots(out) != MG_UPDATE_SLOTS_REPLY_BYTES) {
        exit(6);
    }
    memcpy(mg_put32(mg_put32(in, length), mg_crc32(0, image, length)), image + length - MG_IMAGE_INFO_BYTES,
           MG_IMAGE_INFO_BYTES);
    /* A header that reads otherwise than a moment before is refused. */
    for (int tries = 0; update_begin(in, out) != 1; tries++) {
        if (loose_to == 0 || tries == 20) {
            exit(3);
        }
    }
    for (uint32_t offset = 0; offset < length;) {
        const uint32_t count = length - offset < 37 ? length - offset : 37;
        if (update_write(offset, image + offset, count) != 0) {
            exit(4);
        }
        offset += count;
    }
    if (update_commit() != 0) {
        exit(5);
    }
}

static void cut_off(const uint8_t *image, uint32_t length, long point) {
    operations_left = point;
    if (!setjmp(power_failure)) {
        update(image, length);
    }
    operations_left = -1;
}

static int holds(uint32_t slot, const uint8_t *image, uint32_t length) {
    return memcmp(slot_image(slot), image, length) == 0;
}

static uint32_t running(void) {
    slot_header header;
    return slot_to_run(&header);
}

/* Starts several times, as what is read may differ: how often one of the images did not run, and which ran last. */
static int failed_starts(const uint8_t *old, const uint8_t *new, uint32_t length, int *runs_old) {
    int failed = 0;
    for (int start = 0; start < 3; start++) {
        slot_header header;
        const uint32_t slot = slot_to_run(&header);
        failed += slot == SLOT_NONE || (!holds(slot, old, length) && !holds(slot, new, length));
        *runs_old = slot != SLOT_NONE && holds(slot, old, length);
    }
    return failed;
}

int main(int count, char **arguments) {
    (void)count;
    state = strtoull(arguments[1], NULL, 10) * 2654435761u + 1;
    const uint32_t length = (uint32_t)atoi(arguments[2]);
    uint8_t *images[3];
    for (int i = 0; i < 3; i++) {
        images[i] = malloc(length);
        for (uint32_t k = 0; k < length; k++) {
            images[i][k] = (uint8_t)next();
        }
        uint8_t *info = images[i] + length - MG_IMAGE_INFO_BYTES;
        memset(info, 0, MG_IMAGE_INFO_BYTES);
        memcpy(mg_put32(mg_put32(info, MG_IMAGE_MAGIC), LOAD_ADDRESS), BOARD_NAME, sizeof BOARD_NAME);
    }
    static uint8_t before[FLASH_BYTES];
    memset(flash, 0xff, sizeof flash);
    operations_left = -1;
    update(images[0], length);
    update(images[1], length);
    memcpy(before, flash, sizeof flash);
    operations_left = -1;
    update(images[2], length);
    const long all = -1 - operations_left;
    if (!holds(running(), images[2], length)) {
        return 2;
    }
    long old_ones = 0, again = 0;
    for (torn = 0; torn < 2; torn++) {
        for (long point = 0; point < all; point++) {
            /* A header that is half written is what a second failure could harm. */
            const int repeats = point < all - HEADER_WORDS ? 1 : 40;
            for (int repeat = 0; repeat < repeats; repeat++) {
                int runs_old = 0;
                memcpy(flash, before, FLASH_BYTES);
                memset(loose, 0, sizeof loose);
                loose_from = loose_to = 0;
                cut_off(images[2], length, point);
                if (failed_starts(images[1], images[2], length, &runs_old) != 0) {
                    printf("broken at %ld\n", point);
                    return 1;
                }
                old_ones += repeat == 0 && runs_old;
                const long second = (long)(next() % (uint32_t)all);
                cut_off(images[2], length, second);
                again++;
                if (failed_starts(images[1], images[2], length, &runs_old) != 0) {
                    printf("broken at %ld after %ld\n", second, point);
                    return 1;
                }
                /* And the device still takes the update. */
                update(images[2], length);
                if (!holds(running(), images[2], length)) {
                    return 2;
                }
            }
        }
    }
    printf("%ld %ld %ld\n", 2 * all, old_ones, again);
    for (int i = 0; i < 3; i++) {
        free(images[i]);
    }
    return 0;
}
