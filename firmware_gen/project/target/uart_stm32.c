/* USART of STM32F1, F2 and F4 (RM0090, section 30). */
#include "port.h"

#define SR (*(volatile uint32_t *)(UART_BASE + 0x00u))
#define DR (*(volatile uint32_t *)(UART_BASE + 0x04u))
#define BRR (*(volatile uint32_t *)(UART_BASE + 0x08u))
#define CR1 (*(volatile uint32_t *)(UART_BASE + 0x0cu))
#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)

void uart_init(void) {
    BRR = (UART_CLOCK_HZ + UART_BAUD / 2u) / UART_BAUD;
    CR1 = (1u << 13) | (1u << 3) | (1u << 2); /* UE, TE, RE */
}

int uart_get(void) {
    return (SR & SR_RXNE) != 0 ? (int)(DR & 0xffu) : -1;
}

void uart_put(uint8_t byte) {
    while ((SR & SR_TXE) == 0) {
    }
    DR = byte;
}
