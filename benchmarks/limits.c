/* Loops that reach what one core can do: nothing but multiply-adds, or reading. REAL: float or double. */

/* What one instruction holds. */
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define LANES (BYTES / (long)sizeof(REAL))
typedef REAL unit __attribute__((vector_size(BYTES)));
typedef REAL unaligned __attribute__((vector_size(BYTES), aligned(sizeof(REAL))));
#define CHAINS 12 /* independent, to hide the latency of two multiply-add units */
#define SUMS 8

/* Returns the number of floating-point operations: 2 per lane, chain and repeat. */
double multiply_adds(long repeats, double factor, REAL *result) {
    unit s[CHAINS], f = (unit){0} + (REAL)factor, c = (unit){0} + (REAL)1e-9;
    for (int i = 0; i < CHAINS; i++) s[i] = (unit){0} + (REAL)i;
    for (long r = 0; r < repeats; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) s[i] = s[i] * f + c;
    }
    for (int i = 1; i < CHAINS; i++) s[0] += s[i];
    *result = s[0][0];
    return 2.0 * CHAINS * LANES * (double)repeats;
}

/* One multiply-add after the other: each waits for the one before. */
void in_turn(long repeats, double factor, REAL *result) {
    unit s = {0}, f = (unit){0} + (REAL)factor, c = (unit){0} + (REAL)1e-9;
    for (long r = 0; r < repeats; r++) s = s * f + c;
    *result = s[0];
}

/* Reads n values `repeats` times; n is a multiple of SUMS * LANES. */
void stream(const REAL *x, long n, long repeats, REAL *result) {
    unit s[SUMS] = {{0}};
    for (long r = 0; r < repeats; r++)
        for (long i = 0; i < n; i += SUMS * LANES) {
#pragma GCC unroll 8
            for (int k = 0; k < SUMS; k++) s[k] += *(const unaligned *)(x + i + LANES * k);
        }
    for (int k = 1; k < SUMS; k++) s[0] += s[k];
    *result = s[0][0];
}
