/* Per-sample SGD in plain C loops with `omp simd`: squared error, relu, linear output. W_k is (n_out, n_in).
   Also the machine's limits: a kernel of nothing but fused multiply-adds, and one that streams memory. */
#include <stddef.h>

void train(int n_layers, const int *sizes, float **weights, float **biases, float **a, float **delta, const float *X,
           const float *Y, long n_samples, float rate, float clip) {
    for (long t = 0; t < n_samples; t++) {
        const float *x = X + t * sizes[0], *y = Y + t * sizes[n_layers];
        for (int k = 0; k < n_layers; k++) {
            int n = sizes[k], m = sizes[k + 1];
            const float *restrict in = k ? a[k - 1] : x;
            for (int j = 0; j < m; j++) {
                const float *restrict w = weights[k] + (size_t)j * n;
                float z = biases[k][j];
#pragma omp simd reduction(+ : z)
                for (int i = 0; i < n; i++) z += w[i] * in[i];
                a[k][j] = z > 0 || k == n_layers - 1 ? z : 0;
            }
        }
        for (int j = 0; j < sizes[n_layers]; j++) delta[n_layers - 1][j] = a[n_layers - 1][j] - y[j];
        for (int k = n_layers - 1; k >= 0; k--) {
            int n = sizes[k], m = sizes[k + 1];
            const float *restrict in = k ? a[k - 1] : x;
            if (k) {
                float *restrict below = delta[k - 1];
                for (int i = 0; i < n; i++) below[i] = 0;
                for (int j = 0; j < m; j++) {
                    const float *restrict w = weights[k] + (size_t)j * n;
                    float d = delta[k][j];
#pragma omp simd
                    for (int i = 0; i < n; i++) below[i] += w[i] * d;
                }
                for (int i = 0; i < n; i++) below[i] = in[i] > 0 ? below[i] : 0;
            }
            for (int j = 0; j < m; j++) {
                float *restrict w = weights[k] + (size_t)j * n, d = delta[k][j];
                d = rate * (d > clip ? clip : d < -clip ? -clip : d);
                biases[k][j] -= d;
#pragma omp simd
                for (int i = 0; i < n; i++) w[i] -= d * in[i];
            }
        }
    }
}

/* What one instruction holds. */
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float unit __attribute__((vector_size(BYTES)));
typedef float unaligned __attribute__((vector_size(BYTES), aligned(4)));
#define CHAINS 12 /* independent, to hide the latency of two multiply-add units */

/* Returns the number of floating-point operations: 2 per lane, chain and repeat. */
double multiply_adds(long repeats, float factor, float *result) {
    unit s[CHAINS], f = (unit){0} + factor, c = (unit){0} + 1e-9f;
    for (int i = 0; i < CHAINS; i++) s[i] = (unit){0} + (float)i;
    for (long r = 0; r < repeats; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) s[i] = s[i] * f + c;
    }
    for (int i = 1; i < CHAINS; i++) s[0] += s[i];
    *result = s[0][0];
    return 2.0 * CHAINS * repeats * (double)(sizeof(unit) / sizeof(float));
}

/* Reads n floats, n a multiple of 8 units, `repeats` times. */
float stream(const float *x, long n, long repeats) {
    const long lanes = sizeof(unit) / sizeof(float);
    unit s[8] = {{0}};
    for (long r = 0; r < repeats; r++)
        for (long i = 0; i < n; i += 8 * lanes) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) s[k] += *(const unaligned *)(x + i + lanes * k);
        }
    for (int k = 1; k < 8; k++) s[0] += s[k];
    return s[0][0];
}
