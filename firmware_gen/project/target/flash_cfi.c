/* Parallel flash with the Intel command set (CFI vendor 1), two 16-bit chips side by side, as on QEMU's virt machine. */
#include "board_config.h"
#include "slots.h"

#define BOTH(command) ((command) * 0x00010001u)
#define SECTOR_BYTES 0x40000u
#define READY BOTH(0x80u)
#define ERRORS BOTH(0x3au)

static volatile uint32_t *at(uint32_t address) {
    return (volatile uint32_t *)(uintptr_t)(SLOT_BASE + address);
}

static int finish(uint32_t address) {
    uint32_t status;
    do {
        status = *at(address);
    } while ((status & READY) != READY);
    *at(address) = BOTH(0x50u); /* Clear the status. */
    *at(address) = BOTH(0xffu); /* Back to reading. */
    return (status & ERRORS) == 0 ? 0 : -1;
}

int flash_erase(uint32_t address) {
    *at(address) = BOTH(0x20u);
    *at(address) = BOTH(0xd0u);
    return finish(address);
}

int flash_program(uint32_t address, uint32_t word) {
    *at(address) = BOTH(0x40u);
    *at(address) = word;
    return finish(address);
}

uint32_t flash_sector_bytes(uint32_t address) {
    (void)address;
    return SECTOR_BYTES;
}

const uint8_t *flash_read(uint32_t address) {
    return (const uint8_t *)(uintptr_t)(SLOT_BASE + address);
}
