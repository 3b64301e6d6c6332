/* Between the start-up of a core and what all cores have in common. */
#ifndef MG_START_H
#define MG_START_H
#include <stdint.h>

__attribute__((noreturn, used)) void start_c(void);
void core_start(void);
__attribute__((noreturn)) void core_reset(void);
__attribute__((noreturn)) void core_run(uint32_t address); /* Starts another image, which begins at the address. */
__attribute__((noreturn)) void start_fault(uint32_t program_counter, uint32_t status);

#endif
