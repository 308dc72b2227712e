/* Compiles body.h once per instruction-set level and dtype, and hands out the tables. */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__)
#error "cmlp needs gcc or clang: its kernels are written with their vector extensions"
#endif
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "cmlp needs NaN, infinity and -0: build it without -ffast-math and -ffinite-math-only"
#endif

#define CMLP_CAT_(a, b) a##_##b
#define CMLP_CAT(a, b) CMLP_CAT_(a, b)
#define NAME(name) CMLP_CAT(name, SUFFIX)

/* Which of four bits are set, in order, and how many. */
static const uint16_t bits_set[16][4] = {{0}, {0},    {1},    {0, 1},    {2},    {0, 2},    {1, 2},    {0, 1, 2},
                                         {3}, {0, 3}, {1, 3}, {0, 1, 3}, {2, 3}, {0, 2, 3}, {1, 2, 3}, {0, 1, 2, 3}};
static const unsigned char n_bits_set[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

/* Baseline: 16-byte vectors, which every x86-64 (SSE2) and AArch64 (NEON) has. */
#define VECTOR_BYTES 16
#define DOUBLE_PRECISION 0
#define SUFFIX f32_baseline
#include "body.h"
#define DOUBLE_PRECISION 1
#define SUFFIX f64_baseline
#include "body.h"
#undef VECTOR_BYTES

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define VECTOR_BYTES 32
#define DOUBLE_PRECISION 0
#define SUFFIX f32_avx2
#include "body.h"
#define DOUBLE_PRECISION 1
#define SUFFIX f64_avx2
#include "body.h"
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

/* CMLP_EMULATE_AVX512 (a build for tests) compiles the 64-byte body without AVX-512 instructions, so that its
 * arithmetic can be tested on processors that have AVX2 only. */
#if defined(__clang__)
#if defined(CMLP_EMULATE_AVX512)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)
#endif
#else
#pragma GCC push_options
#if defined(CMLP_EMULATE_AVX512)
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif
#endif
#define VECTOR_BYTES 64
#define DOUBLE_PRECISION 0
#define SUFFIX f32_avx512
#include "body.h"
#define DOUBLE_PRECISION 1
#define SUFFIX f64_avx512
#include "body.h"
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

int cmlp_highest_level(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CMLP_BASELINE;
#if !defined(CMLP_EMULATE_AVX512)
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw"))
        return CMLP_AVX2;
#endif
    return CMLP_AVX512;
}

const cmlp_kernels *cmlp_table(int level, int is_double) {
    if (level == CMLP_AVX512) return is_double ? &kernels_f64_avx512 : &kernels_f32_avx512;
    if (level == CMLP_AVX2) return is_double ? &kernels_f64_avx2 : &kernels_f32_avx2;
    return is_double ? &kernels_f64_baseline : &kernels_f32_baseline;
}

#else

int cmlp_highest_level(void) { return CMLP_BASELINE; }

const cmlp_kernels *cmlp_table(int level, int is_double) {
    (void)level;
    return is_double ? &kernels_f64_baseline : &kernels_f32_baseline;
}

#endif
