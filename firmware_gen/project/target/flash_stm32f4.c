/* Flash of the STM32F405 and F446 (RM0090 and RM0390, section 3): sectors of 16, 64 and 128 KiB, written by words, which
   takes a supply of 2.7 to 3.6 V. The processor stands still while it fetches from a flash that is busy: an erase of
   128 KiB takes 1 s, 2 s at most (DS8626, table 40), in which no byte is heard and no tick counted. */
#include "board_config.h"
#include "slots.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define FLASH 0x40023c00u
#define ACR REG(FLASH + 0x00u)
#define KEYR REG(FLASH + 0x04u)
#define SR REG(FLASH + 0x0cu)
#define CR REG(FLASH + 0x10u)
#define KEY1 0x45670123u
#define KEY2 0xcdef89abu
#define ACR_CACHES ((1u << 10) | (1u << 9)) /* DCEN, ICEN */
#define ACR_RESETS ((1u << 12) | (1u << 11)) /* DCRST, ICRST */
#define SR_BSY (1u << 16)
#define SR_FAULTS 0xf2u /* PGSERR, PGPERR, PGAERR, WRPERR, OPERR; a 1 clears. */
#define CR_PG (1u << 0)
#define CR_SER (1u << 1)
#define CR_SECTOR(number) ((number) << 3)
#define CR_WORDS (2u << 8) /* PSIZE */
#define CR_STRT (1u << 16)
#define CR_LOCK (1u << 31)

static void wait(void) {
    __asm volatile("dsb" ::: "memory");
    while ((SR & SR_BSY) != 0) {
    }
}

static int open(void) {
    wait();
    SR = SR_FAULTS;
    if ((CR & CR_LOCK) != 0) {
        KEYR = KEY1;
        KEYR = KEY2;
    }
    return (CR & CR_LOCK) == 0 ? 0 : -1;
}

static int close(void) {
    wait();
    const uint32_t faults = SR & SR_FAULTS;
    CR = CR_LOCK;
    return faults == 0 ? 0 : -1;
}

/* Neither cache knows of an erase, and a cache may be reset only while it is off. */
static void reset_caches(void) {
    const uint32_t before = ACR;
    ACR = before & ~ACR_CACHES;
    ACR = (before & ~ACR_CACHES) | ACR_RESETS;
    ACR = before & ~ACR_CACHES;
    ACR = before;
    __asm volatile("dsb\n isb" ::: "memory");
}

uint32_t flash_sector_bytes(uint32_t address) {
    return address < 0x10000u ? 0x4000u : address < 0x20000u ? 0x10000u : 0x20000u;
}

const uint8_t *flash_read(uint32_t address) {
    return (const uint8_t *)(uintptr_t)(SLOT_BASE + address);
}

static int is_in_a_slot(uint32_t address) {
    return address - slot_start(0) < SLOT_BYTES || address - slot_start(1) < SLOT_BYTES;
}

int flash_erase(uint32_t address) {
    const uint32_t bytes = flash_sector_bytes(address);
    const uint32_t number = address < 0x10000u ? address >> 14 : address < 0x20000u ? 4u : 4u + (address >> 17);
    if ((address & (bytes - 1u)) != 0 || !is_in_a_slot(address) || open() != 0) {
        return -1;
    }
    CR = CR_SER | CR_SECTOR(number) | CR_WORDS;
    CR = CR_SER | CR_SECTOR(number) | CR_WORDS | CR_STRT;
    const int status = close();
    reset_caches();
    const volatile uint32_t *words = (const volatile uint32_t *)(uintptr_t)(SLOT_BASE + address);
    for (uint32_t i = 0; i < bytes / 4u; i++) {
        if (words[i] != 0xffffffffu) {
            return -1;
        }
    }
    return status;
}

int flash_program(uint32_t address, uint32_t word) {
    volatile uint32_t *where = (volatile uint32_t *)(uintptr_t)(SLOT_BASE + address);
    if ((address & 3u) != 0 || !is_in_a_slot(address) || open() != 0) {
        return -1;
    }
    CR = CR_PG | CR_WORDS;
    *where = word;
    const int status = close();
    return *where == word ? status : -1;
}
