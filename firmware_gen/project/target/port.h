/* What the applications need of a board. A new board implements these and nothing else. */
#ifndef MG_PORT_H
#define MG_PORT_H
#include <stdint.h>

/* board_config.h, which the generator writes, defines BOARD_NAME, CORE_CLOCK_HZ, UART_BASE, UART_CLOCK_HZ,
   UART_BAUD, FLASH_CAPACITY and RAM_CAPACITY. */
#include "board_config.h"

#ifdef __cplusplus
extern "C" {
#endif

void port_setup(void);                /* Clock and pins; boards that need none have none. */
void uart_init(void);
int uart_get(void);                   /* The next byte, or -1. Bytes are polled: at most one request is under way. */
void uart_put(uint8_t byte);
void clock_init(void);
uint64_t clock_cycles(void);          /* Since start-up; at CORE_CLOCK_HZ. */
uint64_t clock_us(void);
__attribute__((noreturn)) void port_reset(void);

/* Survives a reset, not a power cut. */
typedef struct {
    uint32_t magic;
    uint32_t reason;
    uint32_t program_counter;
    uint32_t status;
} reset_record;
extern reset_record port_reset_record;
#define RESET_RECORD_MAGIC 0x6d677273u
uint32_t port_reset_reason(void);     /* MG_RESET_...; stays the same until the next reset. */
uint32_t port_stack_peak(void);       /* Bytes of stack ever used. */
uint32_t port_flash_used(void);
uint32_t port_ram_used(void);

#ifdef __cplusplus
}
#endif

#endif
