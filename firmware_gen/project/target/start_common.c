/* What starting up has in common on all cores: memory, why it started, how much of the stack is used. */
#include "port.h"
#include "protocol.h"
#include "start.h"

extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[], __stack_limit[], __stack_top[];
extern uint8_t __flash_start[], __flash_end[], __ram_start[], __ram_end[];
int main(void);

#define STACK_PAINT 0xa5a5a5a5u
#define STACK_WORDS_IN_USE 32

__attribute__((section(".noinit"))) reset_record port_reset_record;
static uint32_t reset_reason;

void start_c(void) {
    for (uint32_t *p = __stack_limit; p < (uint32_t *)__builtin_frame_address(0) - STACK_WORDS_IN_USE; p++) {
        *p = STACK_PAINT;
    }
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0;
    }
    core_start();
    if (port_reset_record.magic == RESET_RECORD_MAGIC) {
        reset_reason = port_reset_record.reason;
    } else {
        reset_reason = MG_RESET_POWER_ON;
        port_reset_record.program_counter = 0;
        port_reset_record.status = 0;
    }
    port_reset_record.magic = 0;
    (void)main();
    for (;;) {
    }
}

static void record(uint32_t reason, uint32_t program_counter, uint32_t status) {
    port_reset_record.reason = reason;
    port_reset_record.program_counter = program_counter;
    port_reset_record.status = status;
    port_reset_record.magic = RESET_RECORD_MAGIC;
}

void port_reset(void) {
    record(MG_RESET_SOFTWARE, 0, 0);
    core_reset();
}

void start_fault(uint32_t program_counter, uint32_t status) {
    record(MG_RESET_FAULT, program_counter, status);
    core_reset();
}

uint32_t port_reset_reason(void) {
    return reset_reason;
}

uint32_t port_stack_peak(void) {
    const uint32_t *p = __stack_limit;
    while (p < __stack_top && *p == STACK_PAINT) {
        p++;
    }
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)p);
}

uint32_t port_flash_used(void) {
    return (uint32_t)(__flash_end - __flash_start);
}

#if defined(MORE_RAM_REGIONS)
#define DECLARE(name) extern uint8_t __region_##name##_start[], __region_##name##_end[];
#define USED(name) +(uint32_t)(__region_##name##_end - __region_##name##_start)
MORE_RAM_REGIONS(DECLARE)
#else
#define MORE_RAM_REGIONS(X)
#endif

uint32_t port_ram_used(void) {
    return (uint32_t)(__ram_end - __ram_start) MORE_RAM_REGIONS(USED);
}

uint64_t clock_us(void) {
    return clock_cycles() / (CORE_CLOCK_HZ / 1000000u);
}
