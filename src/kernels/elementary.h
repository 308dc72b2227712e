/* Exponential, logarithm and what is made of them, for vectors. */

/* Σ c_i x^i, i < n, by Horner's rule. */
INLINE VEC NAME(polynomial)(VEC x, const REAL *c, const int n) {
    VEC p = NAME(broadcast)(c[n - 1]);
#pragma GCC unroll 16
    for (int i = n - 2; i >= 0; i--) p = p * x + c[i];
    return p;
}
#define POLYNOMIAL(x, c) NAME(polynomial)(x, c, (int)(sizeof(c) / sizeof *(c)))

/* 2^n of integers n for which it is a normal number. */
INLINE VEC NAME(power_of_two)(UVEC n) {
    enum { MANTISSA = DOUBLE_PRECISION ? 52 : 23, BIAS = DOUBLE_PRECISION ? 1023 : 127 };
    return (VEC)((n + BIAS) << MANTISSA);
}

/* e^{x - low} = 2^n (1 + p): returns p and n = round((x - low) / ln 2). With r = x - n ln 2 - low, |r| <= ln 2 / 2,
 * p = e^r - 1 = r + r² P(r); P interpolates at Chebyshev nodes (relative error of e^r < 8e-9 for float, < 2e-17 for
 * double). ln 2 is split in two so that n · LN2_HIGH is exact (Cody and Waite, 1980). x beyond -EXP_END and LARGEST
 * gives 0 and inf in the end, after a factor up to EXP_END too. NaN stays NaN. */
#define EXP_END (DOUBLE_PRECISION ? 760 : 120)
INLINE VEC NAME(exp_reduced)(VEC x, VEC low, UVEC *n) {
#if DOUBLE_PRECISION
    const REAL LARGEST = 710.0, ROUND = 0x1.8p52, LOG2_E = 1.4426950408889634;
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
    const REAL LARGEST = 89.0f, ROUND = 0x1.8p23f, LOG2_E = 1.44269504f;
    const REAL LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = 1.4286068203094172e-6f;
    static const REAL P[] = {0.5f, 0.16666576989698775683f, 0.041666554617204574203f, 0.0083631790527225773704f,
                             0.0013926183587713494542f};
#endif
    x = NAME(at_least)(NAME(at_most)(x, LARGEST), -EXP_END);
    VEC rounded = (x - low) * LOG2_E + ROUND; /* its low mantissa bits are the integer n */
    *n = (UVEC)rounded - (UVEC)NAME(broadcast)(ROUND);
    VEC n_real = rounded - ROUND;
    VEC r = (x - n_real * LN2_HIGH) - n_real * LN2_LOW - low;
    return r * r * POLYNOMIAL(r, P) + r;
}

/* factor · e^{x - low}. The power of two is applied in two factors, and last, so that overflow gives inf and results
 * below the normal range round once, to subnormals and 0. NaN stays NaN. */
INLINE VEC NAME(times_exp)(VEC factor, VEC x, VEC low) {
    UVEC n;
    VEC p = (NAME(exp_reduced)(x, low, &n) + (REAL)1) * factor;
    UVEC half = ((n + 4096) >> 1) - 2048; /* ⌊n/2⌋ with an unsigned shift: n + 4096 > 0 */
    return p * NAME(power_of_two)(half) * NAME(power_of_two)(n - half);
}
INLINE VEC NAME(exp)(VEC x) { return NAME(times_exp)(NAME(broadcast)(1), x, (VEC){0}); }

/* e^x - 1 for x <= 0: 2^n p + (2^n - 1), where nothing cancels. Meaningless for x > 0. */
INLINE VEC NAME(expm1)(VEC x) {
    const REAL SMALLEST = DOUBLE_PRECISION ? -40 : -20; /* below, it is -1 */
    UVEC n;
    VEC p = NAME(exp_reduced)(NAME(at_least)(x, SMALLEST), (VEC){0}, &n);
    VEC scale = NAME(power_of_two)(n);
    return scale * p + (scale - (REAL)1);
}

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
    VEC small = x + x * (square * POLYNOMIAL(square, Q));
    VEC large = (REAL)1 - (REAL)2 / (NAME(exp)(size + size) + (REAL)1);
    VEC t = NAME(select)(size < (REAL)0.625, small, large);
    return (VEC)((UVEC)t | ((UVEC)x & ~(((UINT)-1) >> 1))); /* the sign of x, of -0 too: x + x³ Q alone gives +0 */
}

/* log(1 + u) for 0 <= u <= 1: 2 artanh(y/2) = y + y³ Q(y²) with y = u / (1 + u/2) <= 2/3; Q interpolates at Chebyshev
 * nodes (relative error < 4e-10 for float, < 5e-18 for double). Keeps subnormals and NaN. */
INLINE VEC NAME(log1p)(VEC u) {
#if DOUBLE_PRECISION
    static const REAL Q[] = {0.083333333333333323201,   0.012500000000004557085,   0.0022321428568053716533,
                             0.00043402778744976294901, 0.00008877826873111747153, 0.000018781213458201444218,
                             4.0631543608566089326e-6,  9.1560919262624454767e-7,  1.6786076519288394703e-7,
                             7.7076175746648465256e-8};
#else
    static const REAL Q[] = {0.083333334150659265586f, 0.012499908228728036688f, 0.0022337779683049091971f,
                             0.00042395655861094477824f, 0.00011340004503917650797f};
#endif
    VEC y = u / ((REAL)1 + (REAL)0.5 * u), square = y * y;
    return y + y * (square * POLYNOMIAL(square, Q));
}

/* The tail of the normal distribution is Φ(-t) = e^{-t²/2} M(t), t >= 0, with the smooth, slowly falling M(t) =
 * φ(t) / (t + g(t)) e^{t²/2} = 1 / (√(2π) (t + g(t))). g = P/Q falls from 0.8 to 0 like 1/t, so that errors of P and Q
 * hardly show in M where t is large; nothing cancels, as all terms are positive. It interpolates at nodes that are
 * Chebyshev's in (t - k)/(t + k), up to GAUSS_END (relative error of M < 2e-9 for float, < 2e-17 for double). Returns M(t),
 * or t M(t) with one rounding less. */
#define GAUSS_END (DOUBLE_PRECISION ? 40 : 16) /* from here on e^{-t²/2} is 0 */
INLINE VEC NAME(normal_tail)(VEC t, const int times_t) {
#if DOUBLE_PRECISION
    static const REAL P[] = {0.7978845608028653549,   0.9916585565654219957,     0.62970846137502576366,
                             0.25951756123060920147,  0.07539785871713988277,    0.015896817449979835231,
                             0.002425844414849384872, 0.00025867384504517833137, 0.000017585145623335967868,
                             5.8755613981355228298e-7};
    static const REAL Q[] = {1.0,
                             1.6982892648459606445,
                             1.4260539053456935376,
                             0.76667821485128449391,
                             0.28978442655770747073,
                             0.080144007386253228256,
                             0.016410640892447208244,
                             0.0024610146767561041417,
                             0.00025984895785967653488,
                             0.000017585145617484423262,
                             5.8755613984233310732e-7};
#else
    static const REAL P[] = {0.79788456102210318982f, 0.5050803428476685147f, 0.16708084662659033991f,
                             0.030064656026254801977f, 0.0025153576011328435928f};
    static const REAL Q[] = {1.0f,
                             1.0884539405416441993f,
                             0.56849865963386641943f,
                             0.17186382553724703972f,
                             0.030075428584063007072f,
                             0.0025151565024359382817f};
#endif
    VEC q = POLYNOMIAL(t, Q), tq = t * q;
    return (REAL)0.39894228040143267794 * (times_t ? tq : q) / (tq + POLYNOMIAL(t, P));
}

/* factor · e^{-t²/2}, 0 <= t <= GAUSS_END. t² is split as h² + (t - h)(t + h), h being t in half of its digits, so
 * that h² is exact: rounding t² would be a relative error of t²/2 eps. */
INLINE VEC NAME(times_gauss)(VEC factor, VEC t) {
    const UINT DROPPED = ((UINT)1 << (DOUBLE_PRECISION ? 27 : 12)) - 1;
    VEC h = (VEC)(((UVEC)t + (DROPPED + 1) / 2) & ~DROPPED);
    return NAME(times_exp)(factor, (REAL)-0.5 * (h * h), (REAL)0.5 * ((t - h) * (t + h)));
}
#undef POLYNOMIAL
