/* The updater on a flash whose power fails after a given number of operations, in the middle of one.

   Arguments: seed, bytes of the new image. For every point of failure there is, the update is cut off there, once with
   the operation half done; afterwards slot_to_run() has to name a slot that holds the old or the new image whole. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board_config.h"
#include "frames.h"
#include "slots.h"
#include "update.h"

static uint8_t flash[2u * SLOT_BYTES] __attribute__((aligned(4)));
static long operations_left;
static int torn;
static jmp_buf power_failure;
static uint64_t state;

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

int flash_erase(uint32_t address) {
    const int fails = operations_left-- == 0;
    const uint32_t count = !fails ? SECTOR_BYTES : torn ? next() % SECTOR_BYTES : 0;
    memset(flash + address, 0xff, count);
    if (fails && torn) {
        for (uint32_t i = 0; i < 64; i++) { /* Half-erased cells read as they like. */
            flash[address + next() % SECTOR_BYTES] = (uint8_t)next();
        }
    }
    if (fails) {
        longjmp(power_failure, 1);
    }
    return 0;
}

int flash_program(uint32_t address, uint32_t word) {
    const int fails = operations_left-- == 0;
    uint8_t bytes[4];
    (void)mg_put32(bytes, word);
    if (!fails || torn) {
        for (int i = 0; i < 4; i++) {
            flash[address + i] &= (uint8_t)(bytes[i] | (fails ? next() : 0)); /* Bits are only ever cleared. */
        }
    }
    if (fails) {
        longjmp(power_failure, 1);
    }
    return 0;
}

const uint8_t *flash_read(uint32_t address) {
    return flash + address;
}

static void update(const uint8_t *image, uint32_t length) {
    uint8_t out[1];
    if (update_begin(length, mg_crc32(0, image, length), out) != 1) {
        exit(3);
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

static int holds(uint32_t slot, const uint8_t *image, uint32_t length) {
    return slot_header_of(slot)->length == length && memcmp(slot_image(slot), image, length) == 0;
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
    }
    static uint8_t before[sizeof flash];
    memset(flash, 0xff, sizeof flash);
    operations_left = -1;
    update(images[0], length);
    update(images[1], length);
    memcpy(before, flash, sizeof flash);
    volatile long points = 0, old_ones = 0;
    for (torn = 0; torn < 2; torn++) {
        for (volatile long point = 0;; point++) {
            memcpy(flash, before, sizeof flash);
            operations_left = point;
            const int failed = setjmp(power_failure);
            if (!failed) {
                update(images[2], length);
            }
            operations_left = -1;
            const uint32_t slot = slot_to_run();
            if (slot == SLOT_NONE || (!holds(slot, images[1], length) && !holds(slot, images[2], length))) {
                printf("broken at %ld\n", point);
                return 1;
            }
            if (!failed) {
                if (!holds(slot, images[2], length)) {
                    return 2;
                }
                break;
            }
            points++;
            old_ones += holds(slot, images[1], length);
            /* And the device still takes the update. */
            update(images[2], length);
            if (!holds(slot_to_run(), images[2], length)) {
                return 2;
            }
        }
    }
    printf("%ld %ld\n", points, old_ones);
    for (int i = 0; i < 3; i++) {
        free(images[i]);
    }
    return 0;
}
