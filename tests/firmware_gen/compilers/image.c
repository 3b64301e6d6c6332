/* Runs many generated models in one image and says which of their answers differ from what is stored. */
#include <stddef.h>
#include <stdint.h>

#include "subjects.h"

extern const uint8_t stored[];

#if defined(__arm__)
extern uint32_t __stack_top[], __data_start[], __data_end[], __data_load[], __bss_start[], __bss_end[];
void reset_handler(void);
void fault_handler(void);
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    __stack_top,   reset_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, fault_handler, fault_handler};

static int32_t host(int32_t operation, const void *argument) {
    register int32_t number __asm("r0") = operation;
    register const void *with __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(number) : "r"(with) : "memory");
    return number;
}

static void put(char letter) {
    host(3, &letter);
}

static void finish(void) {
    host(0x18, (const void *)0x20026);
}

void fault_handler(void) {
    put('F');
    finish();
    for (;;) {
    }
}
#else
void start(void);
void fault_handler(void);
static void put(char letter) {
    *(volatile uint8_t *)0x10000000u = (uint8_t)letter;
}

static void finish(void) {
    *(volatile uint32_t *)0x00100000u = 0x5555u;
}

__attribute__((used, aligned(4))) void fault_handler(void) {
    put('F');
    finish();
    for (;;) {
    }
}

__attribute__((naked, used, section(".vectors"))) void start(void) {
    __asm volatile("la sp, __stack_top\n la t0, fault_handler\n csrw mtvec, t0\n call run_all\n");
}
#endif

static void say(const char *text) {
    while (*text != '\0') {
        put(*text++);
    }
}

static int is_wrong(const subject *s, uint32_t at) {
    for (uint32_t k = 0; k < s->output_count; k++) {
        for (uint32_t i = 0; i < s->outputs[k].bytes; i++) {
            if ((uint8_t)s->outputs[k].data[i] != stored[at++]) {
                return 1;
            }
        }
    }
    return 0;
}

static void run(const subject *s) {
    uint32_t at = s->first;
    for (uint32_t n = 0; n < s->cases; n++) {
        uint32_t size = 0;
        for (uint32_t k = 0; k < s->input_count; k++) {
            for (uint32_t i = 0; i < s->inputs[k].bytes; i++) {
                s->inputs[k].data[i] = (int8_t)stored[at++];
            }
        }
        for (uint32_t k = 0; k < s->output_count; k++) {
            size += s->outputs[k].bytes;
        }
        if (s->run(s->tasks) != 0 || is_wrong(s, at)) {
            say("wrong ");
            say(s->name);
            say("\n");
            return;
        }
        at += size;
    }
}

__attribute__((used)) void run_all(void) {
    for (uint32_t n = 0; n < SUBJECTS; n++) {
        run(subjects + n);
    }
    say("done\n");
    finish();
    for (;;) {
    }
}

#if defined(__arm__)
__attribute__((used, noreturn)) void start_c(void);
void start_c(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20;
    __asm volatile("dsb\n isb" ::: "memory");
#endif
    for (volatile uint32_t *to = __data_start, *from = __data_load; to < __data_end;) {
        *to++ = *from++;
    }
    for (volatile uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0;
    }
    run_all();
    for (;;) {
    }
}

__attribute__((naked, noreturn)) void reset_handler(void) {
    __asm volatile("ldr r0, =__stack_top\n mov sp, r0\n bl start_c\n .ltorg");
}
#endif
