/* Per-sample SGD in plain C loops with `omp simd`: squared error, relu, linear output. W_k is (n_out, n_in). */
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
