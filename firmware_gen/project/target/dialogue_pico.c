/* The dialogue over USB (stdio of the Pico SDK). */
#include "hardware/watchdog.h"
#include "pico/stdio_usb.h"
#include "pico/stdlib.h"

#include "app.h"
#include "port.h"
#include "protocol.h"

static bool written;

void uart_init(void) {
    stdio_init_all();
    stdio_set_translate_crlf(&stdio_usb, false);
}

int uart_get(void) {
    const int byte = getchar_timeout_us(0);
    if (byte < 0 && written) {
        stdio_flush();
        written = false;
    }
    return byte < 0 ? -1 : byte;
}

void uart_put(uint8_t byte) {
    putchar_raw(byte);
    written = true;
}

void clock_init(void) {
}

uint64_t clock_us(void) {
    return time_us_64();
}

uint32_t port_reset_reason(void) {
    return watchdog_caused_reboot() ? MG_RESET_SOFTWARE : MG_RESET_POWER_ON;
}

void port_reset(void) {
    stdio_flush();
    watchdog_reboot(0, 0, 10);
    for (;;) {
    }
}

int main(void) {
    app_setup();
    for (;;) {
        app_turn();
    }
}
