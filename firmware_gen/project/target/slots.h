/* Two slots for images in flash, of which one runs while the other is written: an update may be cut off at any point.

   A slot is a header, alone in its first sector, and the image from the second sector on. The header is written last,
   and only once the image is in the flash and its CRC is right; the header's own CRC is its last word. */
#ifndef MG_SLOTS_H
#define MG_SLOTS_H
#include <stdint.h>

/* The flash, by the driver. Addresses are relative to the first slot; each returns 0 or -1. */
int flash_erase(uint32_t sector_address);
int flash_program(uint32_t address, uint32_t word);
const uint8_t *flash_read(uint32_t address);

#define SLOT_MAGIC 0x746c7367u
#define SLOT_NONE 0xffu

typedef struct {
    uint32_t magic;
    uint32_t sequence; /* The higher one runs. */
    uint32_t length;
    uint32_t image_crc;
    uint32_t header_crc;
} slot_header;

/* Number of the slot to run, or SLOT_NONE. */
uint32_t slot_to_run(void);
const slot_header *slot_header_of(uint32_t slot);
const uint8_t *slot_image(uint32_t slot);

#endif
