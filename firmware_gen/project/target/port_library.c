/* What all frameworks leave to us: of memory and resets only they know more. An example defines the rest of port.h. */
#include "port.h"
#include "protocol.h"

reset_record port_reset_record;

uint64_t clock_cycles(void) {
    return clock_us() * (CORE_CLOCK_HZ / 1000000u);
}

__attribute__((weak)) uint32_t port_reset_reason(void) {
    return MG_RESET_UNKNOWN;
}

uint32_t port_stack_peak(void) {
    return 0;
}

uint32_t port_flash_used(void) {
    return 0;
}

uint32_t port_ram_used(void) {
    return 0;
}
