/* What kernels for Helium (the M-profile vector extension) share. */
#ifndef MG_MVE_H
#define MG_MVE_H

#include "mg_common.h"

/* mg_rescale() of four lanes for shifts that are not to the left. VQRDMULH is the reference's doubling high product, as both round halves upwards; VRSHL
   does too, where the reference rounds them away from zero: hence one less where a negative value is shifted right. */
MG_INLINE int32x4_t mg_rescale_mve(int32x4_t x, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t high = vqrdmulhq_s32(x, multiplier);
    return vrshlq_s32(vqaddq_s32(high, vshrq_n_s32(vandq_s32(high, shift), 31)), shift);
}

#endif
