/* One operation on float32 a call: with whatever flags a board's framework compiles, no two are rounded as one. */
#ifndef MG_REAL_H
#define MG_REAL_H

#include "mg_common.h"

MG_KERNEL float mg_add32(float a, float b) { return a + b; }
MG_KERNEL float mg_sub32(float a, float b) { return a - b; }
MG_KERNEL float mg_mul32(float a, float b) { return a * b; }
MG_KERNEL float mg_div32(float a, float b) { return a / b; }

#endif
