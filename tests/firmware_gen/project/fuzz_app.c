/* Feeds a whole serial application, on the host, with random requests, commands and noise. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "frames.h"
#include "port.h"

static uint64_t state;
static uint64_t now;
static unsigned long sent;
static jmp_buf started_again;
reset_record port_reset_record;

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

void uart_init(void) {
}
int uart_get(void) {
    return -1;
}
void uart_put(uint8_t byte) {
    (void)byte;
    sent++;
}
void clock_init(void) {
}
uint64_t clock_cycles(void) {
    return now += 1000;
}
uint64_t clock_us(void) {
    return now;
}
void port_reset(void) {
    longjmp(started_again, 1);
}
uint32_t port_reset_reason(void) {
    return MG_RESET_UNKNOWN;
}
uint32_t port_stack_peak(void) {
    return 0;
}
uint32_t port_flash_used(void) {
    return 0;
}
uint32_t port_ram_used(void) {
    return 0;
}

#if !defined(FUZZ_MLPERF)
/* On the heap, so that the sanitiser sees the first byte behind it. */
int mg_camera_frame(mg_picture *picture) {
    static uint8_t *pixels;
    free(pixels);
    picture->height = (uint16_t)(1 + next() % 40);
    picture->width = (uint16_t)(1 + next() % 40);
    picture->channels = next() % 2 != 0 ? 1 : 3;
    picture->pixels = pixels = calloc((size_t)picture->height * picture->width, picture->channels);
    return next() % 8 == 0 ? -1 : 0;
}
#endif

#if defined(FUZZ_UPDATE)
#include "slots.h"

void port_setup(void) {
}

#define FLASH_BYTES 0x100000u
static uint8_t *flash;

static void check_slot(uint32_t address) {
    if (address - slot_start(0) >= SLOT_BYTES && address - slot_start(1) >= SLOT_BYTES) {
        abort();
    }
}
uint32_t flash_sector_bytes(uint32_t address) {
    return address < 0x10000u ? 0x4000u : address < 0x20000u ? 0x10000u : 0x20000u;
}
int flash_erase(uint32_t address) {
    check_slot(address);
    memset(flash + address, 0xff, flash_sector_bytes(address));
    return next() % 64 == 0 ? -1 : 0;
}
int flash_program(uint32_t address, uint32_t word) {
    check_slot(address);
    (void)mg_put32(flash + address, word & mg_get32(flash + address));
    return next() % 1024 == 0 ? -1 : 0;
}
const uint8_t *flash_read(uint32_t address) {
    if (flash == NULL) {
        flash = malloc(FLASH_BYTES);
        memset(flash, 0xff, FLASH_BYTES);
    }
    return flash + address;
}

/* An update as it should come, of which pieces are left out now and then. */
static void update(void) {
    uint8_t image[600], payload[MG_MAX_PAYLOAD];
    const uint32_t length = 32u + next() % 560u;
    for (uint32_t i = 0; i < length; i++) {
        image[i] = (uint8_t)next();
    }
    uint8_t *info = image + length - MG_IMAGE_INFO_BYTES;
    memset(info, 0, MG_IMAGE_INFO_BYTES);
    memcpy(mg_put32(mg_put32(info, MG_IMAGE_MAGIC), slot_run_address(next() % 2)), BOARD_NAME, sizeof BOARD_NAME);
    (void)mg_put32(mg_put32(payload, length), mg_crc32(0, image, length));
    memcpy(payload + 8, info, MG_IMAGE_INFO_BYTES);
    mg_encode(MG_KIND_UPDATE_BEGIN, (uint16_t)next(), payload, MG_UPDATE_BEGIN_REQUEST_BYTES, app_receive);
    for (uint32_t at = 0, count; at < length; at += count) {
        count = length - at < 236u ? length - at : 1u + next() % 236u;
        memcpy(mg_put32(payload, at), image + at, count);
        if (next() % 16 != 0) {
            mg_encode(MG_KIND_UPDATE_WRITE, (uint16_t)next(), payload, 4u + count, app_receive);
        }
    }
    mg_encode(MG_KIND_UPDATE_COMMIT, (uint16_t)next(), payload, 0, app_receive);
}
#endif

#if defined(FUZZ_MLPERF)
static void input(void) {
    static const char *const words[] = {"name", "profile", "timestamp", "db", "load", "print", "infer", "results", "help",
                                        "0", "1", "3", "16", "17", "64", "4294967295", "99999999999", "-1", "00ff", "0g", "abc",
                                        "000102030405060708090a0b0c0d0e0f1011", " ", "%", "\r\n", ""};
    for (uint32_t count = next() % 6; count > 0; count--) {
        const char *word = words[next() % (sizeof words / sizeof words[0])];
        for (; *word != '\0'; word++) {
            app_receive((uint8_t)*word);
        }
        if (next() % 8 != 0) {
            app_receive(' ');
        }
    }
    for (uint32_t count = next() % 8 == 0 ? next() % 200 : 0; count > 0; count--) {
        app_receive((uint8_t)next());
    }
    app_receive('%');
}
#else
static void input(void) {
#if defined(FUZZ_UPDATE)
    if (next() % 64 == 0) {
        update();
    }
#endif
    uint8_t payload[MG_MAX_PAYLOAD];
    uint32_t length = next() % 4 == 0 ? next() % (MG_MAX_PAYLOAD + 1) : next() % 24;
    for (uint32_t i = 0; i < length; i++) {
        const uint32_t shape = next() % 4;
        payload[i] = (uint8_t)(shape == 0 ? next() : shape == 1 ? next() % 4 : shape == 2 ? 0xff : 0);
    }
    const uint8_t kind = (uint8_t)(next() % 8 == 0 ? next() : next() % 0x1b);
    mg_encode(kind, (uint16_t)next(), payload, length, app_receive);
    for (uint32_t count = next() % 8 == 0 ? next() % 600 : 0; count > 0; count--) {
        app_receive((uint8_t)next());
    }
}
#endif

int main(int count, char **arguments) {
    const long inputs = count > 1 ? atol(arguments[1]) : 10000;
    state = 88172645463325252ull;
    volatile long i = 0;
    (void)setjmp(started_again);
    app_start();
    for (; i < inputs; i++) {
        input();
        app_idle();
    }
    printf("%lu bytes sent\n", sent);
    return 0;
}
