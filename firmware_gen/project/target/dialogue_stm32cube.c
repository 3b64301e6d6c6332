/* The dialogue over a UART of the HAL: call app_setup() once and app_turn() in main()'s loop. CubeMX makes main.h and the
   handle; MULTIGRAFT_UART names another one, and USART3 is the debugger's port of a Nucleo-H743ZI. */
#include "main.h"

#include "app.h"
#include "port.h"

#ifndef MULTIGRAFT_UART
#define MULTIGRAFT_UART huart3
#endif
extern UART_HandleTypeDef MULTIGRAFT_UART;

void uart_init(void) {
}

int uart_get(void) {
    uint8_t byte;
    if (__HAL_UART_GET_FLAG(&MULTIGRAFT_UART, UART_FLAG_ORE)) {
        __HAL_UART_CLEAR_OREFLAG(&MULTIGRAFT_UART);
    }
    return HAL_UART_Receive(&MULTIGRAFT_UART, &byte, 1, 0) == HAL_OK ? byte : -1;
}

void uart_put(uint8_t byte) {
    (void)HAL_UART_Transmit(&MULTIGRAFT_UART, &byte, 1, HAL_MAX_DELAY);
}

void clock_init(void) {
    CoreDebug->DEMCR |= CoreDebug_DEMCR_TRCENA_Msk;
    DWT->CTRL |= DWT_CTRL_CYCCNTENA_Msk;
}

uint64_t clock_us(void) {
    /* The counter turns over within seconds, and this is asked for more often than that. */
    static uint32_t before;
    static uint64_t cycles;
    const uint32_t now = DWT->CYCCNT;
    cycles += now - before;
    before = now;
    return cycles / (CORE_CLOCK_HZ / 1000000u);
}

void port_reset(void) {
    NVIC_SystemReset();
}
