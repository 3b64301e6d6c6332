/* Start-up of RV32 in machine mode; clock and reset are those of QEMU's virt machine. */
#include "port.h"
#include "start.h"

void start(void);

#define MTIME_LOW (*(volatile uint32_t *)0x0200bff8u)
#define MTIME_HIGH (*(volatile uint32_t *)0x0200bffcu)
#define TEST_FINISHER (*(volatile uint32_t *)0x00100000u)
#define FINISHER_RESET 0x7777u

_Static_assert(CORE_CLOCK_HZ == 10000000, "the virt machine's timer is the only clock it has");

__attribute__((naked, noreturn, used, section(".vectors"))) void start(void) {
    __asm volatile(
        "la sp, __stack_top\n"
        "la t0, trap\n"
        "csrw mtvec, t0\n"
        "j start_c");
}

void core_start(void) {
}

void core_reset(void) {
    TEST_FINISHER = FINISHER_RESET;
    for (;;) {
    }
}

void core_run(uint32_t address) {
    __asm volatile("fence.i\n jr %0" : : "r"(address) : "memory");
    __builtin_unreachable();
}

/* The stack may be what is broken, so a fresh one is used. */
__attribute__((naked, used, aligned(4))) void trap(void);
void trap(void) {
    __asm volatile("la sp, __stack_top\n j record_trap");
}

__attribute__((used, noreturn)) void record_trap(void);
void record_trap(void) {
    uint32_t cause, where;
    __asm volatile("csrr %0, mcause\n csrr %1, mepc" : "=r"(cause), "=r"(where));
    start_fault(where, cause);
}

void clock_init(void) {
}

uint64_t clock_cycles(void) {
    uint32_t high, low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return ((uint64_t)high << 32) | low;
}
