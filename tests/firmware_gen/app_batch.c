/* Many inferences per byte received: inputs are made here by a hash of their place, outputs are sent as they are.
   tests/firmware_gen/batch.py makes the same inputs. */
#include <string.h>

#include "app.h"
#include "port.h"

static uint32_t next_case;

#if __has_include("borders.h")
/* BORDERS: offset and bytes of what lies between the buffers; FIRST_INPUT: offset of the first input. */
#include "borders.h"
static const uint32_t borders[][2] = {BORDERS};

static int8_t *border(uint32_t number) {
    return model_inputs[0].data - FIRST_INPUT + borders[number][0];
}

static void fill_borders(void) {
    for (uint32_t n = 0; n < sizeof borders / sizeof *borders; n++) {
        memset(border(n), (int)(0x5a + n % 7u), borders[n][1]);
    }
}

static int borders_are_whole(void) {
    for (uint32_t n = 0; n < sizeof borders / sizeof *borders; n++) {
        for (uint32_t i = 0; i < borders[n][1]; i++) {
            if (border(n)[i] != (int8_t)(0x5a + n % 7u)) {
                return 0;
            }
        }
    }
    return 1;
}
#else
static void fill_borders(void) {
}

static int borders_are_whole(void) {
    return 1;
}
#endif

static uint32_t hash(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Random; only extremes; a narrow band; all equal. */
static uint8_t value(uint32_t number, uint32_t place) {
    const uint32_t random = hash(number * APP_INPUT_BYTES + place);
    const int32_t centre = (int8_t)hash(~number);
    switch (number & 3u) {
    case 0:
        return (uint8_t)random;
    case 1:
        return (random & 1u) != 0 ? 127u : 128u;
    case 2: {
        const int32_t near = centre + (int32_t)(random & 31u) - 16;
        return (uint8_t)(near < -128 ? -128 : near > 127 ? 127 : near);
    }
    default:
        return (uint8_t)centre;
    }
}

void app_start(void) {
    uart_put('r');
}

void app_receive(uint8_t cases) {
    for (; cases > 0; cases--, next_case++) {
        uint64_t cycles;
        for (uint32_t i = 0; i < APP_INPUT_BYTES; i++) {
            app_staged[i] = value(next_case, i);
        }
        fill_borders();
        if (app_infer(APP_ALL_TASKS, &cycles) != 0) {
            return;
        }
        /* A kernel that wrote beside its buffers answers wrong. */
        const uint8_t spoilt = borders_are_whole() ? 0u : 0xffu;
        for (uint32_t output = 0; output < APP_OUTPUTS; output++) {
            const uint8_t *const bytes = app_output(output);
            for (uint32_t i = 0; i < app_outputs[output].bytes; i++) {
                uart_put((uint8_t)(bytes[i] ^ spoilt));
            }
        }
    }
}

void app_idle(void) {
}
