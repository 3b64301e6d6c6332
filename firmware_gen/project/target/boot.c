/* The boot loader: runs the newest whole image. It is never written by an update. */
#include <string.h>

#include "port.h"
#include "slots.h"

uint64_t clock_cycles(void);

int main(void) {
    const uint32_t slot = slot_to_run();
    if (slot == SLOT_NONE) {
        uart_init();
        for (const char *text = "no image in either slot\r\n"; *text != '\0'; text++) {
            uart_put((uint8_t)*text);
        }
        for (;;) {
        }
    }
    memcpy((void *)(uintptr_t)LOAD_ADDRESS, slot_image(slot), slot_header_of(slot)->length);
    __asm volatile("fence.i\n jr %0" : : "r"(LOAD_ADDRESS) : "memory");
    return 0;
}
