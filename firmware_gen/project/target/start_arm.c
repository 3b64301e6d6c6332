/* Start-up of Cortex-M: vectors, faults, cycle clock. */
#include "port.h"
#include "start.h"

extern uint32_t __stack_top[];
void reset_handler(void);
void fault_handler(void);
void tick_handler(void);
static void idle_handler(void);

#define SCB_VTOR (*(volatile uint32_t *)0xe000ed08u)
#define SCB_AIRCR (*(volatile uint32_t *)0xe000ed0cu)
#define SCB_CFSR (*(volatile uint32_t *)0xe000ed28u)
#define SCB_CPACR (*(volatile uint32_t *)0xe000ed88u)
#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)
#define SYST_PERIOD 0x1000000u

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15];
} vectors = {__stack_top,
             {reset_handler, idle_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
              fault_handler, fault_handler, fault_handler, idle_handler, idle_handler, idle_handler, idle_handler,
              tick_handler}};

static volatile uint32_t ticks;

static void idle_handler(void) {
}

void tick_handler(void) {
    ticks++;
}

__attribute__((naked, noreturn)) void reset_handler(void) {
    /* Debuggers may come here with another stack pointer than the vector table says. */
    __asm volatile("ldr r0, =__stack_top\n mov sp, r0\n bl start_c\n .ltorg");
}

void core_start(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xfu << 20;
    __asm volatile("dsb\n isb" ::: "memory");
#endif
#if __ARM_ARCH > 6
    SCB_VTOR = (uint32_t)(uintptr_t)&vectors;
#endif
}

void core_reset(void) {
    __asm volatile("dsb" ::: "memory");
    SCB_AIRCR = 0x05fa0004u;
    for (;;) {
    }
}

void core_run(uint32_t address) {
    const uint32_t *image = (const uint32_t *)(uintptr_t)address;
    __asm volatile("msr msp, %0\n isb\n bx %1" : : "r"(image[0]), "r"(image[1]) : "memory");
    __builtin_unreachable();
}

__attribute__((used, noreturn)) void record_fault(const uint32_t *frame);
void record_fault(const uint32_t *frame) {
#if __ARM_ARCH > 6
    start_fault(frame[6], SCB_CFSR);
#else
    start_fault(frame[6], 0);
#endif
}

__attribute__((naked)) void fault_handler(void) {
    __asm volatile("mov r0, sp\n bl record_fault");
}

void clock_init(void) {
    SYST_RVR = SYST_PERIOD - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7u;
}

uint64_t clock_cycles(void) {
    uint32_t before, now;
    do {
        before = ticks;
        now = SYST_CVR;
    } while (before != ticks);
    return (uint64_t)before * SYST_PERIOD + (SYST_PERIOD - 1u - now);
}
