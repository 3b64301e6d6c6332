/* NS16550A UART, one byte per register, as on QEMU's virt machine. */
#include "port.h"

#define REGISTER(n) (*(volatile uint8_t *)(UART_BASE + (n)))
#define LSR_DATA_READY 1u
#define LSR_TX_EMPTY 0x20u

void uart_init(void) {
    const uint32_t divisor = UART_CLOCK_HZ / (16u * UART_BAUD);
    REGISTER(1) = 0;
    REGISTER(3) = 0x80; /* Divisor latch. */
    REGISTER(0) = (uint8_t)divisor;
    REGISTER(1) = (uint8_t)(divisor >> 8);
    REGISTER(3) = 3; /* 8 data bits, no parity, 1 stop bit. */
    REGISTER(2) = 7; /* FIFOs on and empty. */
}

int uart_get(void) {
    return (REGISTER(5) & LSR_DATA_READY) != 0 ? REGISTER(0) : -1;
}

void uart_put(uint8_t byte) {
    while ((REGISTER(5) & LSR_TX_EMPTY) == 0) {
    }
    REGISTER(0) = byte;
}
