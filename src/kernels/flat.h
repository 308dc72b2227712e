/* Vectors of any length: gradients, parameters, rows of activations and of inputs. */

/* gradient ← clipped elementwise to [-clip, clip]. */
static void NAME(clip)(ptrdiff_t n, void *gradient, double clip) {
    REAL *g = gradient, limit = (REAL)clip;
    for (ptrdiff_t i = 0; i < n; i++) g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

/* Σ values², in double. */
static double NAME(sum_of_squares)(ptrdiff_t n, const void *values) {
    const REAL *v = values;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (ptrdiff_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sum;
}

/* g ← g + scale · sign(w), a subgradient of scale ‖w‖₁. */
static void NAME(add_signs)(ptrdiff_t n, void *gradient, const void *weights, double scale) {
    REAL *restrict g = gradient;
    const REAL *restrict w = weights;
    const REAL s = (REAL)scale;
    for (ptrdiff_t i = 0; i < n; i++) g[i] += w[i] > 0 ? s : w[i] < 0 ? -s : 0;
}

/* w ← w c / ‖w‖₂ for the incoming weights w of units from..to-1 whose norm is above c = limit. By rows the squares of
 * some units are summed side by side, by columns those of one after the other; each unit's sum has the same order
 * whatever `from` is, as long as it is a multiple of UNITS. */
static void NAME(limit_norms)(const cmlp_op *op, void *params, double limit, ptrdiff_t from, ptrdiff_t to) {
    enum { UNITS = 16 };
    const int by_rows = op->layout == CMLP_ROWS;
    const ptrdiff_t step = by_rows ? op->ld : 1, n_in = op->n_in; /* between the weights of a unit */
    for (ptrdiff_t j = from, wide; j < to; j += wide) {
        REAL *W = (REAL *)params + op->weights + (by_rows ? j : j * op->ld), factor[UNITS];
        double squares[UNITS] = {0};
        int above = 0;
        wide = !by_rows ? 1 : to - j < UNITS ? to - j : UNITS;
        if (by_rows)
            for (ptrdiff_t i = 0; i < n_in; i++)
                for (ptrdiff_t u = 0; u < wide; u++) squares[u] += (double)W[i * step + u] * (double)W[i * step + u];
        else
            squares[0] = NAME(sum_of_squares)(n_in, W);
        for (ptrdiff_t u = 0; u < wide; u++) {
            const double norm = sqrt(squares[u]);
            factor[u] = norm > limit ? (REAL)(limit / norm) : 1;
            above |= norm > limit;
        }
        for (ptrdiff_t i = 0; above && i < n_in; i++)
            for (ptrdiff_t u = 0; u < wide; u++) W[i * step + u] *= factor[u];
    }
}

/* average ← decay · average + (1 - decay) · w. */
static void NAME(average)(ptrdiff_t n, void *average, const void *weights, double decay) {
    REAL *restrict a = average;
    const REAL *restrict w = weights;
    const REAL d = (REAL)decay, share = (REAL)(1 - decay);
    for (ptrdiff_t i = 0; i < n; i++) a[i] = d * a[i] + share * w[i];
}

/* values_i ← values_i m_i / (1 - rate), where m_i is 0 with probability `rate`, else 1: the (i/2)-th output of
 * SplitMix64 started from `key` decides about elements i and i + 1 (i even), its lower half about the first. The elements
 * lie `stride` apart. */
static void NAME(drop)(ptrdiff_t n, ptrdiff_t stride, uint64_t key, double rate, void *values) {
    const uint64_t threshold = (uint64_t)(rate * 0x1p32);
    const REAL scale = (REAL)(1 / (1 - rate));
    REAL *v = values;
    for (ptrdiff_t i = 0; i < n; i += 2, v += 2 * stride) {
        key += CMLP_GOLDEN_GAMMA;
        const uint64_t bits = cmlp_mix(key);
        v[0] = (uint32_t)bits >= threshold ? scale * v[0] : 0; /* no NaN survives: a dropped element has no influence */
        if (i + 1 < n) v[stride] = bits >> 32 >= threshold ? scale * v[stride] : 0;
    }
}

/* out = (x - mean) ⊙ scale, without padding. */
static void NAME(standardize)(ptrdiff_t n, const void *x, const void *mean, const void *scale, void *out) {
    const REAL *restrict from = x, *restrict m = mean, *restrict s = scale;
    REAL *restrict to = out;
    for (ptrdiff_t i = 0; i < n; i++) to[i] = (from[i] - m[i]) * s[i];
}

/* Takes x (n,), NaN left out, into the count, mean and sum of squared deviations of every element
 * (cmlp/_engine/scaling.py), and sets shift and scale to μ and 1/σ for `standardize`, if they are not NULL. Returns
 * whether all sums are finite.
 * Welford: d = x - μ, S ← S + d² N / (N + 1), μ ← μ + d / (N + 1); σ² = S / N. */
static int NAME(learn_scale)(ptrdiff_t n, const void *x, double *count, double *mean, double *squares, void *shift,
                             void *scale) {
    const REAL *from = x;
    REAL *m = shift, *s = scale;
    int finite = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (isnan(from[i])) continue;
        const double total = count[i] + 1;
        if (count[i] == 0) mean[i] = from[i];
        const double d = from[i] - mean[i];
        squares[i] += d * d * count[i] / total;
        mean[i] += d / total;
        count[i] = total;
        finite &= isfinite(squares[i]) != 0;
        if (!m) continue;
        m[i] = (REAL)mean[i];
        const REAL inverse = (REAL)(1 / sqrt(squares[i] / total));
        s[i] = inverse > 0 && isfinite(inverse) ? inverse : 1;
    }
    return finite;
}

/* Index of the first NaN or infinity, or -1. */
static ptrdiff_t NAME(first_nonfinite)(ptrdiff_t n, const void *values) {
    const REAL *v = values;
    for (ptrdiff_t start = 0; start < n; start += 4096) {
        const ptrdiff_t stop = start + 4096 < n ? start + 4096 : n;
        REAL poison = 0; /* x - x is NaN for NaN and infinities, else 0 */
#pragma omp simd reduction(+ : poison)
        for (ptrdiff_t i = start; i < stop; i++) poison += v[i] - v[i];
        if (poison == 0) continue;
        for (ptrdiff_t i = start; i < stop; i++)
            if (!isfinite(v[i])) return i;
    }
    return -1;
}
