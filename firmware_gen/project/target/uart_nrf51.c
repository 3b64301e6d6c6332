/* UART of the nRF51 series (nRF51 Series Reference Manual 3.0, chapter 29), pins of the BBC micro:bit. */
#include "port.h"

#define REGISTER(offset) (*(volatile uint32_t *)(UART_BASE + (offset)))
#define STARTRX REGISTER(0x000u)
#define STARTTX REGISTER(0x008u)
#define RXDRDY REGISTER(0x108u)
#define TXDRDY REGISTER(0x11cu)
#define ENABLE REGISTER(0x500u)
#define PSELTXD REGISTER(0x50cu)
#define PSELRXD REGISTER(0x514u)
#define RXD REGISTER(0x518u)
#define TXD REGISTER(0x51cu)
#define BAUDRATE REGISTER(0x524u)
#define BAUD_115200 0x01d7e000u /* The chip has fixed values per rate. */
#define CLOCK_HFCLKSTART (*(volatile uint32_t *)0x40000000u)

_Static_assert(UART_BAUD == 115200, "the baud register holds the value for 115200");

void uart_init(void) {
    CLOCK_HFCLKSTART = 1; /* The crystal: the internal oscillator is too far off for a UART. */
    PSELTXD = 24;
    PSELRXD = 25;
    BAUDRATE = BAUD_115200;
    ENABLE = 4;
    STARTRX = 1;
    STARTTX = 1;
}

int uart_get(void) {
    if (RXDRDY == 0) {
        return -1;
    }
    RXDRDY = 0;
    return (int)(RXD & 0xffu);
}

void uart_put(uint8_t byte) {
    TXDRDY = 0;
    TXD = byte;
    while (TXDRDY == 0) {
    }
}
