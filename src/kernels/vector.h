/* Vectors and elementwise mathematics of one (instruction-set level, dtype); included by body.h, no include guard.
 * Written with the vector extensions that gcc and clang share: `+`, `*`, comparisons and shifts act on all lanes. */

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
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
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

/* The first m <= LANES elements of p, zeros after them. The wide load may touch the padding of an own buffer. */
INLINE VEC NAME(load_first)(const REAL *p, ptrdiff_t m) {
    VEC v = NAME(load)(p);
    return m >= LANES ? v : (VEC)((IVEC)v & NAME(first_lanes)(m));
}

/* Stores the first m elements and leaves the neighbour's behind them as they are. */
INLINE void NAME(store_first)(REAL *p, VEC v, ptrdiff_t m) {
    NAME(store)(p, m >= LANES ? v : NAME(select)(NAME(first_lanes)(m), v, NAME(load)(p)));
}

/* The same for memory that is not ours (x, y): touches exactly m elements. */
INLINE VEC NAME(load_exactly)(const REAL *p, ptrdiff_t m) {
    VEC v = {0};
#pragma GCC unroll 16
    for (ptrdiff_t i = 0; i < LANES; i++)
        if (i < m) v[i] = p[i];
    return v;
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
#if VECTOR_BYTES == 32 && DOUBLE_PRECISION
    return (uint64_t)__builtin_ia32_movmskpd256((VEC)mask);
#elif VECTOR_BYTES == 32
    return (uint64_t)__builtin_ia32_movmskps256((VEC)mask);
#elif VECTOR_BYTES == 64 && DOUBLE_PRECISION
    const VEC v = (VEC)mask;
    return (uint64_t)__builtin_ia32_movmskpd256(__builtin_shufflevector(v, v, 0, 1, 2, 3)) |
           (uint64_t)__builtin_ia32_movmskpd256(__builtin_shufflevector(v, v, 4, 5, 6, 7)) << 4;
#elif VECTOR_BYTES == 64
    const VEC v = (VEC)mask;
    return (uint64_t)__builtin_ia32_movmskps256(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)) |
           (uint64_t)__builtin_ia32_movmskps256(__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)) << 8;
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

/* e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2 and e^r = 1 + r + r² P(r); P interpolates at Chebyshev
 * nodes (relative error < 8e-9 for float, < 2e-17 for double). The power of two is applied in two factors, so that
 * overflow gives inf and results below the normal range round to subnormals and 0. NaN stays NaN: the clamps compare
 * false. ln 2 is split in two so that n · LN2_HIGH is exact (Cody and Waite, 1980). */
INLINE VEC NAME(exp)(VEC x) {
#if DOUBLE_PRECISION
    enum { MANTISSA = 52, BIAS = 1023 };
    const REAL LARGEST = 710.0, SMALLEST = -746.0, ROUND = 0x1.8p52, LOG2_E = 1.4426950408889634;
    const REAL LN2_HIGH = 0x1.62e42fefa2000p-1, LN2_LOW = 7.371002565167798901834e-13;
    static const REAL P[] = {0.5,
                             0.16666666666666667453,
                             0.041666666666624127873,
                             0.0083333333333300618325,
                             0.0013888888917213716901,
                             0.00019841269863053616878,
                             2.4801521295954375131e-5,
                             2.7557268459997064772e-6,
                             2.7620088445409748161e-7,
                             2.5100385495510319078e-8};
#else
    enum { MANTISSA = 23, BIAS = 127 };
    const REAL LARGEST = 89.0f, SMALLEST = -104.0f, ROUND = 0x1.8p23f, LOG2_E = 1.44269504f;
    const REAL LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = 1.4286068203094172e-6f;
    static const REAL P[] = {0.5f, 0.16666576989698775683f, 0.041666554617204574203f, 0.0083631790527225773704f,
                             0.0013926183587713494542f};
#endif
    x = NAME(select)(x > LARGEST, NAME(broadcast)(LARGEST), x);
    x = NAME(select)(x < SMALLEST, NAME(broadcast)(SMALLEST), x);
    VEC rounded = x * LOG2_E + ROUND; /* its low mantissa bits are the integer n */
    UVEC n = (UVEC)rounded - (UVEC)NAME(broadcast)(ROUND);
    VEC n_real = rounded - ROUND;
    VEC r = (x - n_real * LN2_HIGH) - n_real * LN2_LOW;
    VEC p = NAME(broadcast)(P[sizeof P / sizeof *P - 1]);
#pragma GCC unroll 16
    for (int i = (int)(sizeof P / sizeof *P) - 2; i >= 0; i--) p = p * r + P[i];
    p = (r * r * p + r) + (REAL)1;
    UVEC half = ((n + 4 * BIAS) >> 1) - 2 * BIAS; /* ⌊n/2⌋ with an unsigned shift: n + 4·BIAS > 0 */
    VEC low = (VEC)((half + BIAS) << MANTISSA), high = (VEC)((n - half + BIAS) << MANTISSA);
    return p * low * high;
}

INLINE VEC NAME(absolute)(VEC x) { return (VEC)((UVEC)x & (((UINT)-1) >> 1)); }

/* σ(x) = 1/(1+e^{-x}) for x >= 0 and e^x/(1+e^x) for x < 0: the exponential never overflows. */
INLINE VEC NAME(sigmoid)(VEC x) {
    VEC e = NAME(exp)(-NAME(absolute)(x));
    VEC numerator = NAME(select)(x < (REAL)0, e, NAME(broadcast)(1));
    return numerator / ((REAL)1 + e);
}

/* tanh x = x + x³ Q(x²) for |x| < 5/8 (no cancellation, keeps -0 and subnormals), else ±(1 - 2/(e^{2|x|}+1)). */
INLINE VEC NAME(tanh)(VEC x) {
#if DOUBLE_PRECISION
    static const REAL Q[] = {-0.3333333333333332256,   0.1333333333332665774,     -0.05396825396139557082,
                             0.02186948826055911465,   -0.008863229830925708746,  0.003592058977473455315,
                             -0.001455309297534642025, 0.0005874372860094381897,  -0.000230776162695198579,
                             0.00007959955735264808,   -0.00001724487449484433017};
#else
    static const REAL Q[] = {-0.3333332894413425457f, 0.1333276973697632786f, -0.05385090957851358083f,
                             0.02099717899907475057f, -0.006096714165908197575f};
#endif
    VEC size = NAME(absolute)(x), square = x * x;
    VEC q = NAME(broadcast)(Q[sizeof Q / sizeof *Q - 1]);
#pragma GCC unroll 16
    for (int i = (int)(sizeof Q / sizeof *Q) - 2; i >= 0; i--) q = q * square + Q[i];
    VEC small = x + x * (square * q);
    VEC large = (REAL)1 - (REAL)2 / (NAME(exp)(size + size) + (REAL)1);
    VEC t = NAME(select)(size < (REAL)0.625, small, large);
    return (VEC)((UVEC)t | ((UVEC)x & ~(((UINT)-1) >> 1))); /* the sign of x, of -0 too: x + x³ Q alone gives +0 */
}
