/* Frames that lie in the image, so many for each byte received: by which exit each task left, and its whole answer. For
   a byte of 0, what was counted of each exit. tests/firmware_gen/exits/board.py writes frames_here.h and reads. */
#include <string.h>

#include "app.h"
#include "frames_here.h"
#include "port.h"

static uint32_t next_frame;

static void put32(uint32_t word) {
    for (int i = 0; i < 4; i++) {
        uart_put((uint8_t)(word >> (8 * i)));
    }
}

void app_start(void) {
    uart_put('r');
}

void app_receive(uint8_t count) {
    if (count == 0) {
        for (uint32_t k = 0; k < APP_EXITS; k++) {
            const mg_exit_state *const e = app_exits[k].state;
            put32(e->reached);
            put32(e->taken);
            put32(e->audited);
            put32(e->disagreed);
            put32(e->is_open);
            put32(e->is_in_doubt);
        }
    }
    for (; count > 0; count--, next_frame++) {
        uint64_t cycles;
        memcpy(app_staged, (const uint8_t *)frames_here + next_frame * APP_INPUT_BYTES, APP_INPUT_BYTES);
        if (app_infer(APP_ALL_TASKS, &cycles) != 0) {
            return;
        }
        for (uint32_t output = 0; output < APP_OUTPUTS; output++) {
            for (uint32_t i = 0; i < app_outputs[output].bytes; i++) {
                uart_put(((const uint8_t *)app_output(output))[i]);
            }
        }
    }
}

void app_idle(void) {
}
