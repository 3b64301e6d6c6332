/* The boot loader: runs the newest whole image. It is never written by an update. */
#include <string.h>

#include "port.h"
#include "slots.h"
#include "start.h"

int main(void) {
    slot_header header;
    const uint32_t slot = slot_to_run(&header);
    if (slot == SLOT_NONE) {
#if defined(PORT_SETUP)
        port_setup();
#endif
        uart_init();
        for (const char *text = "no image in either slot\r\n"; *text != '\0'; text++) {
            uart_put((uint8_t)*text);
        }
        for (;;) {
        }
    }
#if !defined(SLOTS_IN_PLACE)
    memcpy((void *)(uintptr_t)LOAD_ADDRESS, slot_image(slot), header.length);
#endif
    core_run(slot_run_address(slot));
}
