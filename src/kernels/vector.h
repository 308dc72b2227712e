/* Vectors of one (instruction-set level, dtype), written with the extensions that gcc and clang share: `+`, `*`,
 * comparisons and shifts act on all lanes. Like all files below it, body.h includes it once for each. */

typedef REAL NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef INT NAME(ivec) __attribute__((vector_size(VECTOR_BYTES)));
typedef UINT NAME(uvec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(loose) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(vec16) __attribute__((vector_size(16)));
typedef REAL NAME(loose16) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

#define VEC NAME(vec)
#define IVEC NAME(ivec)
#define UVEC NAME(uvec)
#define VEC16 NAME(vec16)
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define N_REGISTERS 32 /* vectors that the processor holds: the sizes of register blocks follow it */
#else
#define N_REGISTERS 16
#endif
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define PADDED(n) (((n) + LANES - 1) / LANES * LANES) /* to whole vectors */
#define INLINE static inline __attribute__((always_inline, unused))

INLINE VEC NAME(load)(const REAL *p) { return *(const NAME(loose) *)p; }
INLINE void NAME(store)(REAL *p, VEC v) { *(NAME(loose) *)p = v; }
INLINE VEC NAME(broadcast)(REAL s) { return s - (VEC){0}; }
INLINE VEC NAME(select)(IVEC mask, VEC yes, VEC no) { return (VEC)((mask & (IVEC)yes) | (~mask & (IVEC)no)); }

/* All ones in the first m lanes. */
INLINE IVEC NAME(first_lanes)(ptrdiff_t m) {
    static const INT lane[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    IVEC index;
    memcpy(&index, lane, sizeof index);
    return index < (INT)m - (IVEC){0};
}

/* Loads of x and y, memory that is not ours, touch exactly the m <= LANES elements asked for, others may touch the padding
 * of an own buffer. AVX-512 and AVX2 have instructions that leave out lanes, and never fault there. */
#if VECTOR_BYTES == 64 && !defined(CMLP_EMULATE_AVX512)
#if DOUBLE_PRECISION
#define LOAD_MASKED(p, m) (VEC) _mm512_maskz_loadu_pd((__mmask8)((1u << (m)) - 1), p)
#define BITS(mask) _mm512_movepi64_mask((__m512i)(mask))
#else
#define LOAD_MASKED(p, m) (VEC) _mm512_maskz_loadu_ps((__mmask16)((1u << (m)) - 1), p)
#define BITS(mask) _mm512_movepi32_mask((__m512i)(mask))
#endif
#elif VECTOR_BYTES == 32 && DOUBLE_PRECISION
#define LOAD_MASKED(p, m) (VEC) _mm256_maskload_pd(p, (__m256i)NAME(first_lanes)(m))
#define BITS(mask) _mm256_movemask_pd((__m256d)(mask))
#elif VECTOR_BYTES == 32
#define LOAD_MASKED(p, m) (VEC) _mm256_maskload_ps(p, (__m256i)NAME(first_lanes)(m))
#define BITS(mask) _mm256_movemask_ps((__m256)(mask))
#endif

/* The first m elements of p, zeros after them. */
INLINE VEC NAME(load_exactly)(const REAL *p, ptrdiff_t m) {
    if (m >= LANES) return NAME(load)(p);
#if defined(LOAD_MASKED)
    return LOAD_MASKED(p, m);
#else
    VEC v = {0};
#pragma GCC unroll 16
    for (ptrdiff_t i = 0; i < LANES; i++)
        if (i < m) v[i] = p[i];
    return v;
#endif
}

/* The same from an own buffer. */
INLINE VEC NAME(load_first)(const REAL *p, ptrdiff_t m) {
#if defined(LOAD_MASKED) && VECTOR_BYTES == 64
    return NAME(load_exactly)(p, m);
#else
    VEC v = NAME(load)(p);
    return m >= LANES ? v : (VEC)((IVEC)v & NAME(first_lanes)(m));
#endif
}

/* Stores the first m elements and leaves the neighbour's behind them as they are; not masked, since processors do not
 * forward masked stores to the loads that follow soon. */
INLINE void NAME(store_first)(REAL *p, VEC v, ptrdiff_t m) {
    NAME(store)(p, m >= LANES ? v : NAME(select)(NAME(first_lanes)(m), v, NAME(load)(p)));
}

/* A whole vector by 16-byte loads. */
INLINE VEC NAME(load_in_16s)(const REAL *p) {
#define PIECE(k) (*(const NAME(loose16) *)(p + (k) * LANES / (VECTOR_BYTES / 16)))
#if VECTOR_BYTES == 16
    return PIECE(0);
#elif VECTOR_BYTES == 32 && DOUBLE_PRECISION
    return __builtin_shufflevector(PIECE(0), PIECE(1), 0, 1, 2, 3);
#elif VECTOR_BYTES == 32
    return __builtin_shufflevector(PIECE(0), PIECE(1), 0, 1, 2, 3, 4, 5, 6, 7);
#elif DOUBLE_PRECISION
    return __builtin_shufflevector(__builtin_shufflevector(PIECE(0), PIECE(1), 0, 1, 2, 3),
                                   __builtin_shufflevector(PIECE(2), PIECE(3), 0, 1, 2, 3), 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return __builtin_shufflevector(__builtin_shufflevector(PIECE(0), PIECE(1), 0, 1, 2, 3, 4, 5, 6, 7),
                                   __builtin_shufflevector(PIECE(2), PIECE(3), 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4,
                                   5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#undef PIECE
}

/* Bit i: whether lane i of a mask is set. */
INLINE uint64_t NAME(bits)(IVEC mask) {
#if defined(BITS)
    return (uint64_t)BITS(mask);
#else
    uint64_t set = 0;
    for (ptrdiff_t i = 0; i < LANES; i++) set |= (uint64_t)(mask[i] & 1) << i;
    return set;
#endif
}

/* v folded to 16 bytes by adding halves. */
INLINE VEC16 NAME(fold)(VEC v) {
#if VECTOR_BYTES == 16
    return v;
#elif VECTOR_BYTES == 32 && DOUBLE_PRECISION
    return __builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3);
#elif VECTOR_BYTES == 32
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#elif DOUBLE_PRECISION
    return (__builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3)) +
           (__builtin_shufflevector(v, v, 4, 5) + __builtin_shufflevector(v, v, 6, 7));
#else
    return (__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7)) +
           (__builtin_shufflevector(v, v, 8, 9, 10, 11) + __builtin_shufflevector(v, v, 12, 13, 14, 15));
#endif
}

INLINE REAL NAME(sum)(VEC v) {
    VEC16 h = NAME(fold)(v);
#if DOUBLE_PRECISION
    return h[0] + h[1];
#else
    return (h[0] + h[2]) + (h[1] + h[3]);
#endif
}

/* p[0..3] = (or +=) the sums of four vectors, by one transposed addition instead of four horizontal ones. */
INLINE void NAME(store_four_sums)(REAL *p, const VEC v[4], int accumulate) {
    VEC16 a = NAME(fold)(v[0]), b = NAME(fold)(v[1]), c = NAME(fold)(v[2]), d = NAME(fold)(v[3]);
#if DOUBLE_PRECISION
    VEC16 ab = __builtin_shufflevector(a, b, 0, 2) + __builtin_shufflevector(a, b, 1, 3);
    VEC16 cd = __builtin_shufflevector(c, d, 0, 2) + __builtin_shufflevector(c, d, 1, 3);
    if (accumulate) {
        ab += *(const NAME(loose16) *)p;
        cd += *(const NAME(loose16) *)(p + 2);
    }
    *(NAME(loose16) *)p = ab;
    *(NAME(loose16) *)(p + 2) = cd;
#else
    VEC16 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    VEC16 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    VEC16 abcd = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    if (accumulate) abcd += *(const NAME(loose16) *)p;
    *(NAME(loose16) *)p = abcd;
#endif
}

/* x limited from one side; NaN stays NaN: the comparison is false. */
INLINE VEC NAME(at_most)(VEC x, REAL limit) { return NAME(select)(x > limit, NAME(broadcast)(limit), x); }
INLINE VEC NAME(at_least)(VEC x, REAL limit) { return NAME(select)(x < limit, NAME(broadcast)(limit), x); }
/* x, or ±0 where it is subnormal, with its sign: arithmetic with those takes a hundred times as long. */
INLINE REAL NAME(flushed)(REAL x) {
    const REAL zero = (REAL)(DOUBLE_PRECISION ? copysign(0, (double)x) : copysignf(0, (float)x));
    return (x < SMALLEST_REAL) & (x > -SMALLEST_REAL) ? zero : x;
}
INLINE VEC NAME(all_flushed)(VEC x) {
    const VEC sign = (VEC)((UVEC)x & ~(((UINT)-1) >> 1));
    return NAME(select)((x < SMALLEST_REAL) & (x > -SMALLEST_REAL), sign, x);
}
INLINE VEC NAME(absolute)(VEC x) { return (VEC)((UVEC)x & (((UINT)-1) >> 1)); }
/* max(x, 0), 0 also for -0. */
INLINE VEC NAME(positive_part)(VEC x) { return (VEC)(~(x <= (REAL)0) & (IVEC)x); }

INLINE REAL NAME(dot)(ptrdiff_t n, const REAL *p, const REAL *q) {
    VEC total = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) total += NAME(load_first)(p + i, n - i) * NAME(load_first)(q + i, n - i);
    return NAME(sum)(total);
}
