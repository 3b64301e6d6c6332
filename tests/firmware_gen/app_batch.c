/* Many inferences per byte received: inputs are made here by a hash of their place, outputs are sent as they are.
   tests/firmware_gen/batch.py makes the same inputs. */
#include "app.h"
#include "port.h"

static uint32_t next_case;

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
        if (app_infer(APP_ALL_TASKS, &cycles) != 0) {
            return;
        }
        for (uint32_t output = 0; output < APP_OUTPUTS; output++) {
            const uint8_t *const bytes = app_output(output);
            for (uint32_t i = 0; i < app_outputs[output].bytes; i++) {
                uart_put(bytes[i]);
            }
        }
    }
}

void app_idle(void) {
}
