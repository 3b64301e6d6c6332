/* Rescaling by one multiplication for cores that multiply to 64 bits in one instruction. */
#ifndef MG_AFFINE_DSP_H
#define MG_AFFINE_DSP_H

#include "mg_common.h"

/* As mg_apply; shift is at least 32. */
MG_INLINE int32_t mg_scaled_dsp(int32_t sum, const mg_affine *by, int32_t shift)
{
    const int64_t offset = (int64_t)(((uint64_t)(uint32_t)by->offset_high << 32) | by->offset_low);
    return (int32_t)(mg_multiply_add(offset, sum, by->multiplier) >> 32) >> (shift - 32);
}

#endif
