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
    uint8_t payload[MG_MAX_PAYLOAD];
    uint32_t length = next() % 4 == 0 ? next() % (MG_MAX_PAYLOAD + 1) : next() % 24;
    for (uint32_t i = 0; i < length; i++) {
        const uint32_t shape = next() % 4;
        payload[i] = (uint8_t)(shape == 0 ? next() : shape == 1 ? next() % 4 : shape == 2 ? 0xff : 0);
    }
    const uint8_t kind = (uint8_t)(next() % 8 == 0 ? next() : next() % 0x1a);
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
