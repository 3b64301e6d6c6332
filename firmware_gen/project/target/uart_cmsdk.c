/* CMSDK APB UART of Arm's MPS2 and MPS3 FPGA images (DDI 0479). */
#include "port.h"

#define DATA (*(volatile uint32_t *)(UART_BASE + 0x00u))
#define STATE (*(volatile uint32_t *)(UART_BASE + 0x04u))
#define CTRL (*(volatile uint32_t *)(UART_BASE + 0x08u))
#define BAUDDIV (*(volatile uint32_t *)(UART_BASE + 0x10u))
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u

void uart_init(void) {
    BAUDDIV = UART_CLOCK_HZ / UART_BAUD;
    CTRL = 3u;
}

int uart_get(void) {
    return (STATE & STATE_RX_FULL) != 0 ? (int)(DATA & 0xffu) : -1;
}

void uart_put(uint8_t byte) {
    while ((STATE & STATE_TX_FULL) != 0) {
    }
    DATA = byte;
}
