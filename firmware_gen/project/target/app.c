#include "app.h"

#include <string.h>

#include "port.h"

uint8_t app_staged[APP_INPUT_BYTES];

__attribute__((noinline)) void app_marker_begin(void) {
    __asm volatile("" ::: "memory");
}

__attribute__((noinline)) void app_marker_end(void) {
    __asm volatile("" ::: "memory");
}

__attribute__((weak)) void app_sense(uint8_t *staged) {
    (void)staged;
}

#if defined(MODEL_PROFILE)
uint32_t app_step_cycles[MODEL_STEP_COUNT];
static uint32_t running_step;
static uint64_t running_since;

void model_profile(uint32_t step) {
    const uint64_t now = clock_cycles();
    if (running_step < MODEL_STEP_COUNT) {
        /* What runs once for each box counts for all of them. */
        app_step_cycles[running_step] += (uint32_t)(now - running_since);
    }
    running_step = step;
    running_since = clock_cycles();
}
#endif

#if defined(MODEL_HAS_DEADLINES)
uint32_t model_microseconds(void) {
    return (uint32_t)(clock_cycles() / (CORE_CLOCK_HZ / 1000000u));
}
#endif

int app_infer(uint32_t tasks, uint64_t *cycles) {
#if !defined(MODEL_READS_STAGED)
    const uint8_t *from = app_staged;
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        memcpy(app_input(i), from, app_inputs[i].bytes);
        from += app_inputs[i].bytes;
    }
#endif
#if defined(MODEL_PROFILE)
    memset(app_step_cycles, 0, sizeof app_step_cycles);
    running_step = MODEL_STEP_COUNT;
#endif
    const uint64_t before = clock_cycles();
    app_marker_begin();
    const int status = model_run(tasks);
    app_marker_end();
    *cycles = clock_cycles() - before;
    return status;
}

void app_setup(void) {
#if defined(PORT_SETUP)
    port_setup();
#endif
    uart_init();
    clock_init();
    app_start();
}

void app_turn(void) {
    const int byte = uart_get();
    if (byte >= 0) {
        app_receive((uint8_t)byte);
    } else {
        app_idle();
    }
}
