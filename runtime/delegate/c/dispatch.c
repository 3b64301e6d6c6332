#include "kernels.h"

/* Written out, because some linkers lack what __builtin_cpu_supports calls. */
#if defined(__x86_64__)
#include <cpuid.h>

static int has(const Kernels *kernels) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (kernels == &avx2_kernels) return (low & 6) == 6 && (b & bit_AVX2);
    const unsigned all = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return (low & 0xe6) == 0xe6 && (b & all) == all && (c & (1u << 14)) /* AVX512_VPOPCNTDQ */;
}

static const Kernels *const built[] = {&avx512_kernels, &avx2_kernels};
enum { BUILT = 2 };
#elif defined(__aarch64__) || defined(MULTIGRAFT_NEON)
#if !defined(__aarch64__)
#include <sys/auxv.h>
#endif

static int has(const Kernels *kernels) {
    (void)kernels;
#if defined(__aarch64__)
    return 1;
#else
    return (getauxval(AT_HWCAP) & (1ul << 12)) != 0; /* HWCAP_NEON */
#endif
}

static const Kernels *const built[] = {&neon_kernels};
enum { BUILT = 1 };
#else
static int has(const Kernels *kernels) { return kernels != NULL; }
static const Kernels *const built[] = {NULL};
enum { BUILT = 1 };
#endif

const Kernels *available_kernels(int i) {
    for (int j = 0; j < BUILT; j++)
        if (has(built[j]) && i-- == 0) return built[j];
    return i == 0 ? &portable_kernels : NULL;
}
