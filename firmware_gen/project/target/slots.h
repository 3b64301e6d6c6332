/* Two slots for images in flash, of which one runs while the other is written: an update may be cut off at any point.

   A slot is a header and behind it the image. The header is written last, and only once the image is in the flash and
   its CRC is right; the header's own CRC is its last word.

   board_config.h has SLOT_BASE, where a driver's addresses count from, SLOT_STARTS of the two slots by such addresses,
   SLOT_BYTES of each and SLOT_HEADER_BYTES in front of its image. With SLOTS_IN_PLACE an image runs where it lies and
   is linked for one of the slots; otherwise the boot loader copies it to LOAD_ADDRESS. */
#ifndef MG_SLOTS_H
#define MG_SLOTS_H
#include <stdint.h>

/* The flash, by the driver. Each returns 0, or -1 if the flash does not hold afterwards what it should. */
int flash_erase(uint32_t sector_address);
int flash_program(uint32_t address, uint32_t word);
uint32_t flash_sector_bytes(uint32_t address); /* Of the sector that holds the address. */
const uint8_t *flash_read(uint32_t address);

#define SLOT_MAGIC 0x746c7367u
#define SLOT_NONE 0xffu
#define SLOT_IMAGE_BYTES (SLOT_BYTES - SLOT_HEADER_BYTES)

typedef struct {
    uint32_t magic;
    uint32_t sequence; /* The higher one runs. */
    uint32_t length;
    uint32_t image_crc;
    uint32_t header_crc;
} slot_header;

uint32_t slot_start(uint32_t slot);
uint32_t slot_run_address(uint32_t slot); /* Where an image in the slot has to be linked for. */
const uint8_t *slot_image(uint32_t slot);

/* 1 if the slot's header is whole. It is copied first: a bit that was half written need not read alike twice. */
int slot_header_of(uint32_t slot, slot_header *header);

/* 1 if header and image are whole. */
int slot_is_valid(uint32_t slot, slot_header *header);

/* Number of the slot to run and the header that was found to be whole, or SLOT_NONE. Who reads it again may read
   another one. */
uint32_t slot_to_run(slot_header *header);

#endif
