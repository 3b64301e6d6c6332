/* The dialogue over the serial port that the board's devicetree chooses for its console. */
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/reboot.h>

#include "app.h"
#include "port.h"

static const struct device *const console = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

void uart_init(void) {
}

int uart_get(void) {
    unsigned char byte;
    return uart_poll_in(console, &byte) == 0 ? byte : -1;
}

void uart_put(uint8_t byte) {
    uart_poll_out(console, byte);
}

void clock_init(void) {
}

uint64_t clock_us(void) {
    /* The 32 bits turn over within a minute or so, and this is asked for more often than that. */
    static uint32_t before;
    static uint64_t cycles;
    const uint32_t now = k_cycle_get_32();
    cycles += now - before;
    before = now;
    return k_cyc_to_us_floor64(cycles);
}

void port_reset(void) {
    sys_reboot(SYS_REBOOT_COLD);
    for (;;) {
    }
}

int main(void) {
    app_setup();
    for (;;) {
        app_turn();
    }
}
