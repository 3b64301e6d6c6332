/* Takes an image over the serial protocol into the slot that does not run. Each returns what an answer returns: a
   number of bytes, or minus an error code. The formats are those of core/serial_protocol.py. */
#ifndef MG_UPDATE_H
#define MG_UPDATE_H
#include <stdint.h>

int32_t update_slots(uint8_t *out);
int32_t update_begin(const uint8_t *in, uint8_t *out);
int32_t update_write(uint32_t offset, const uint8_t *bytes, uint32_t count);
int32_t update_commit(void);

#endif
