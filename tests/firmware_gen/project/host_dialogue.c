/* A whole serial application on the host: requests on stdin, replies on stdout. */
#include <stdio.h>

#include "app.h"
#include "frames.h"
#include "port.h"

reset_record port_reset_record;

void uart_init(void) {
}
int uart_get(void) {
    return -1;
}
void uart_put(uint8_t byte) {
    (void)putchar(byte);
}
void clock_init(void) {
}
uint64_t clock_cycles(void) {
    return 0;
}
uint64_t clock_us(void) {
    return 0;
}
void port_reset(void) {
    for (;;) {
    }
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

int main(void) {
    app_start();
    for (int byte = getchar(); byte != EOF; byte = getchar()) {
        app_receive((uint8_t)byte);
    }
    return 0;
}
