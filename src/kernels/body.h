/* The kernels of one (instruction-set level, dtype). kernels.c includes this once for each, with VECTOR_BYTES,
 * DOUBLE_PRECISION and SUFFIX defined; NAME(x) appends the suffix. */

#if DOUBLE_PRECISION
#define REAL double
#define ROOT sqrt
#define LARGEST_REAL DBL_MAX
#define INT int64_t
#define UINT uint64_t
#else
#define REAL float
#define ROOT sqrtf
#define LARGEST_REAL FLT_MAX
#define INT int32_t
#define UINT uint32_t
#endif

#include "vector.h"

/* ---------------------------------------------------------------------------------------------- activations */

/* relu: 0 at z <= 0; NaN stays NaN, so that a diverged run is seen. */
INLINE VEC NAME(relu)(VEC z) { return (VEC)(~(z <= (REAL)0) & (IVEC)z); }
INLINE VEC NAME(leaky_relu)(VEC z, REAL alpha) { return NAME(select)(z <= (REAL)0, z * alpha, z); }

/* elu: α (e^z - 1) at z <= 0. selu: λ elu(z) with the α and λ of Klambauer et al., 2017. */
#define SELU_ALPHA ((REAL)1.6732632423543772848170429916717)
#define SELU_SCALE ((REAL)1.0507009873554804934193349852946)
INLINE VEC NAME(elu)(VEC z, REAL alpha) { return NAME(select)(z < (REAL)0, NAME(expm1)(z) * alpha, z); }

/* gelu z Φ(z) and silu z σ(z) are both max(z, 0) - t S(-t), t = |z|, as S(z) = 1 - S(-z) for S = Φ and σ; the tail t S(-t)
 * is accurate however small, and 0 at infinity. */
INLINE VEC NAME(gelu)(VEC z) {
    VEC t = NAME(at_most)(NAME(absolute)(z), GAUSS_END);
    return NAME(relu)(z) - NAME(times_gauss)(NAME(normal_tail)(t, 1), t);
}
INLINE VEC NAME(silu)(VEC z) {
    VEC t = NAME(at_most)(NAME(absolute)(z), EXP_END);
    return NAME(relu)(z) - NAME(times_exp)(t, -t, (VEC){0}) / ((REAL)1 + NAME(exp)(-t));
}

/* Their derivatives are S(z) + z S'(z) = g at z < 0, 1 - g at z >= 0, with g = S(-t) - t S'(t). */
INLINE VEC NAME(gelu_derivative)(VEC z) {
    const REAL c = (REAL)0.39894228040143267794; /* 1 / √(2π) */
    VEC t = NAME(at_most)(NAME(absolute)(z), GAUSS_END);
    VEC g = NAME(times_gauss)(NAME(normal_tail)(t, 0) - c * t, t);
    return NAME(select)(z < (REAL)0, g, (REAL)1 - g);
}
INLINE VEC NAME(silu_derivative)(VEC z) {
    VEC t = NAME(at_most)(NAME(absolute)(z), EXP_END), s = NAME(sigmoid)(-t);
    VEC g = s * ((REAL)1 - t * ((REAL)1 - s));
    return NAME(select)(z < (REAL)0, g, (REAL)1 - g);
}

/* log(1 + e^z), without overflow. */
INLINE VEC NAME(softplus)(VEC z) { return NAME(relu)(z) + NAME(log1p)(NAME(exp)(-NAME(absolute)(z))); }
/* min(max(z + 3, 0), 6) / 6, as PyTorch has it. */
INLINE VEC NAME(hard_sigmoid)(VEC z) { return NAME(at_most)(NAME(at_least)(z + (REAL)3, 0), 6) / (REAL)6; }
/* z / (1 + |z|); an infinity counts as the largest number. */
INLINE VEC NAME(softsign)(VEC z) {
    z = NAME(at_most)(NAME(at_least)(z, -LARGEST_REAL), LARGEST_REAL);
    return z / ((REAL)1 + NAME(absolute)(z));
}

/* softmax over n units, minus the maximum first: a_i = e^{z_i - m} / Σ_j e^{z_j - m}. */
static void NAME(softmax)(ptrdiff_t n, const REAL *z, REAL *a) {
    REAL max = z[0], sum = 0;
    for (ptrdiff_t i = 1; i < n; i++) max = z[i] > max ? z[i] : max;
    VEC total = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        VEC e = NAME(exp)(NAME(load_first)(z + i, n - i) - max);
        if (n - i < LANES) e = (VEC)((IVEC)e & NAME(first_lanes)(n - i));
        total += e;
        NAME(store_first)(a + i, e, n - i);
    }
    sum = NAME(sum)(total);
    for (ptrdiff_t i = 0; i < n; i += LANES) NAME(store_first)(a + i, NAME(load)(a + i) / sum, n - i);
}

#define ELEMENTWISE(expression)                      \
    for (ptrdiff_t i = 0; i < n; i += LANES) {       \
        VEC z_i = NAME(load)(z + i);                 \
        NAME(store_first)(a + i, expression, n - i); \
    }                                                \
    break

/* a (n,) = f(z (n,)); both in padded buffers. */
INLINE void NAME(activate)(int activation, ptrdiff_t n, REAL alpha, const REAL *z, REAL *a) {
    switch (activation) {
    case CMLP_IDENTITY:
        if (a == z) break;
        ELEMENTWISE(z_i);
    case CMLP_RELU: ELEMENTWISE(NAME(relu)(z_i));
    case CMLP_LEAKY_RELU: ELEMENTWISE(NAME(leaky_relu)(z_i, alpha));
    case CMLP_SIGMOID: ELEMENTWISE(NAME(sigmoid)(z_i));
    case CMLP_TANH: ELEMENTWISE(NAME(tanh)(z_i));
    case CMLP_SOFTMAX: NAME(softmax)(n, z, a); break;
    case CMLP_ELU: ELEMENTWISE(NAME(elu)(z_i, alpha));
    case CMLP_SELU: ELEMENTWISE(NAME(elu)(z_i, SELU_ALPHA) * SELU_SCALE);
    case CMLP_GELU: ELEMENTWISE(NAME(gelu)(z_i));
    case CMLP_SILU: ELEMENTWISE(NAME(silu)(z_i));
    case CMLP_SOFTPLUS: ELEMENTWISE(NAME(softplus)(z_i));
    case CMLP_HARD_SIGMOID: ELEMENTWISE(NAME(hard_sigmoid)(z_i));
    case CMLP_SOFTSIGN: ELEMENTWISE(NAME(softsign)(z_i));
    case CMLP_EXP: ELEMENTWISE(NAME(exp)(z_i));
    }
}
#undef ELEMENTWISE

/* δ = J_fᵀ ∂ℓ/∂a for one vector of elements, f' in terms of a where that is exact enough, else of z. For softmax
 * J = diag(a) - a aᵀ, so δ = a (da - a·da), with `dot` = a·da. */
INLINE VEC NAME(activation_backward)(const int activation, VEC z, VEC a, VEC da, REAL alpha, REAL dot) {
    switch (activation) {
    case CMLP_RELU: return (VEC)((a > (REAL)0) & (IVEC)da);
    case CMLP_LEAKY_RELU: return NAME(select)(a > (REAL)0, da, da * alpha);
    case CMLP_SIGMOID: return da * (a * ((REAL)1 - a));
    case CMLP_TANH: return da * ((REAL)1 - a * a);
    case CMLP_SOFTMAX: return a * (da - dot);
    case CMLP_ELU: return da * NAME(select)(a > (REAL)0, NAME(broadcast)(1), a + alpha);
    case CMLP_SELU: return da * NAME(select)(a > (REAL)0, NAME(broadcast)(SELU_SCALE), a + SELU_ALPHA * SELU_SCALE);
    case CMLP_GELU: return da * NAME(gelu_derivative)(z);
    case CMLP_SILU: return da * NAME(silu_derivative)(z);
    case CMLP_SOFTPLUS: return da * -NAME(expm1)(-a); /* σ(z) = 1 - e^{-a} */
    case CMLP_HARD_SIGMOID: return (VEC)((NAME(absolute)(z) < (REAL)3) & (IVEC)(da / (REAL)6));
    case CMLP_SOFTSIGN: return da / (((REAL)1 + NAME(absolute)(z)) * ((REAL)1 + NAME(absolute)(z)));
    case CMLP_EXP: return da * a;
    default: return da;
    }
}

INLINE REAL NAME(dot)(ptrdiff_t n, const REAL *p, const REAL *q) {
    VEC total = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) total += NAME(load_first)(p + i, n - i) * NAME(load_first)(q + i, n - i);
    return NAME(sum)(total);
}

/* -------------------------------------------------------------------------------------------- dense, forward */

/* list[0] = how many of a (n,) are not 0, list[1..] = which, in order; without a branch that depends on a. Writes up to
 * three entries past the list. */
static void NAME(list_nonzero)(ptrdiff_t n, const REAL *a, uint16_t *list) {
    uint16_t *next = list + 1;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        uint64_t set = NAME(bits)(NAME(load_first)(a + i, n - i) != 0);
        for (ptrdiff_t k = 0; k < LANES; k += 4, set >>= 4) {
            for (int t = 0; t < 4; t++) next[t] = (uint16_t)(bits_set[set & 15][t] + i + k);
            next += n_bits_set[set & 15];
        }
    }
    list[0] = (uint16_t)(next - list - 1);
}

/* z (n_out,) (+)= b + Wᵀ a for a block of R vectors of columns, W (n_in, ld) by rows: the block of z stays in
 * registers, U inputs at a time so that R·U independent sums hide the latency of the multiply-add. `list` (if sparse):
 * the inputs that are not 0. */
INLINE void NAME(rows_block)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z, ptrdiff_t n_out,
                             const uint16_t *list, const int R, const int U, const int sparse) {
    const ptrdiff_t ld = op->ld, n = sparse ? list[0] : op->n_in;
    VEC sum[8];
#pragma GCC unroll 8
    for (int s = 0; s < R * U; s++) sum[s] = (VEC){0};
    ptrdiff_t i = 0;
#define INPUT(i) (sparse ? (ptrdiff_t)list[(i) + 1] : (i))
    for (; i + U <= n; i += U) {
#pragma GCC unroll 8
        for (int s = 0; s < R * U; s++)
            sum[s] += a[INPUT(i + s / R)] * NAME(load)(W + INPUT(i + s / R) * ld + s % R * LANES);
    }
    for (; i < n; i++) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) sum[r] += a[INPUT(i)] * NAME(load)(W + INPUT(i) * ld + r * LANES);
    }
#undef INPUT
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int u = 1; u < U; u++) sum[r] += sum[u * R + r];
        if (b) sum[r] += NAME(load)(b + r * LANES);
        if (op->accumulate) sum[r] += NAME(load)(z + r * LANES);
        NAME(store_first)(z + r * LANES, sum[r], n_out - r * LANES);
    }
}

/* The same for a layer of many columns: U whole rows of W at a time, read as they lie, and z (n_out,) in memory. */
INLINE void NAME(whole_rows)(ptrdiff_t n_out, const REAL *W, const ptrdiff_t *row, const REAL *a, REAL *z,
                             const int U) {
    for (ptrdiff_t j = 0; j < n_out; j += LANES) {
        VEC even = NAME(load)(z + j), odd = {0};
#pragma GCC unroll 8
        for (int u = 0; u < U; u += 2) {
            even += a[u] * NAME(load)(W + row[u] + j);
            if (u + 1 < U) odd += a[u + 1] * NAME(load)(W + row[u + 1] + j);
        }
        NAME(store_first)(z + j, even + odd, n_out - j);
    }
}

static void NAME(wide_forward)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z,
                               const uint16_t *list) {
    const ptrdiff_t n = list ? list[0] : op->n_in, n_out = op->n_out;
    if (!op->accumulate) memset(z, 0, (size_t)n_out * sizeof(REAL));
    for (ptrdiff_t j = 0; b && j < n_out; j += LANES)
        NAME(store_first)(z + j, NAME(load)(z + j) + NAME(load)(b + j), n_out - j);
    ptrdiff_t row[8], i = 0;
    REAL a_i[8];
    for (int count; i < n; i += count) {
        count = n - i < 8 ? 1 : 8;
        for (int k = 0; k < count; k++) {
            const ptrdiff_t at = list ? list[i + k + 1] : i + k;
            row[k] = at * op->ld;
            a_i[k] = a[at];
        }
        if (count == 8)
            NAME(whole_rows)(n_out, W, row, a_i, z, 8);
        else
            NAME(whole_rows)(n_out, W, row, a_i, z, 1);
    }
}

static void NAME(rows_forward)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z,
                               const uint16_t *list) {
    ptrdiff_t left = op->n_out;
    if (left > 8 * LANES) {
        NAME(wide_forward)(op, W, b, a, z, list);
        return;
    }
    for (int r; left > 0; left -= r * LANES, W += r * LANES, z += r * LANES, b = b ? b + r * LANES : b) {
        ptrdiff_t vectors = (left + LANES - 1) / LANES;
        r = vectors >= 8 ? 8 : vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
        switch (list ? -r : r) {
        case 8: NAME(rows_block)(op, W, b, a, z, left, list, 8, 1, 0); break;
        case 4: NAME(rows_block)(op, W, b, a, z, left, list, 4, 2, 0); break;
        case 2: NAME(rows_block)(op, W, b, a, z, left, list, 2, 4, 0); break;
        case 1: NAME(rows_block)(op, W, b, a, z, left, list, 1, 8, 0); break;
        case -8: NAME(rows_block)(op, W, b, a, z, left, list, 8, 1, 1); break;
        case -4: NAME(rows_block)(op, W, b, a, z, left, list, 4, 2, 1); break;
        case -2: NAME(rows_block)(op, W, b, a, z, left, list, 2, 2, 1); break;
        default: NAME(rows_block)(op, W, b, a, z, left, list, 1, 2, 1); break;
        }
    }
}

/* z_j (+)= b_j + W_j · a for J units j, W (n_out, ld) by columns of the mathematical W: dot products that share the
 * loads of a. */
INLINE void NAME(columns_block)(const REAL *W, ptrdiff_t ld, const REAL *b, const REAL *a, ptrdiff_t n_in, REAL *z,
                                int accumulate, const int J) {
    VEC even[5], odd[5];
#pragma GCC unroll 5
    for (int j = 0; j < J; j++) even[j] = odd[j] = (VEC){0};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n_in; i += 2 * LANES) {
        VEC a_even = NAME(load)(a + i), a_odd = NAME(load)(a + i + LANES);
#pragma GCC unroll 5
        for (int j = 0; j < J; j++) {
            even[j] += a_even * NAME(load)(W + j * ld + i);
            odd[j] += a_odd * NAME(load)(W + j * ld + i + LANES);
        }
    }
    for (; i < n_in; i += LANES) { /* the rows of W end in zeros up to ld */
        VEC a_i = n_in - i >= LANES ? NAME(load)(a + i) : NAME(load_exactly)(a + i, n_in - i);
#pragma GCC unroll 5
        for (int j = 0; j < J; j++) even[j] += a_i * NAME(load)(W + j * ld + i);
    }
#pragma GCC unroll 5
    for (int j = 0; j < J; j++) {
        REAL z_j = NAME(sum)(even[j] + odd[j]) + (b ? b[j] : 0);
        z[j] = accumulate ? z[j] + z_j : z_j;
    }
}

static void NAME(columns_forward)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z) {
    for (ptrdiff_t j = 0, step; j < op->n_out; j += step) {
        ptrdiff_t left = op->n_out - j;
        const REAL *W_j = W + j * op->ld, *b_j = b ? b + j : b;
        step = left == 5 ? 5 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        switch (step) {
        case 5: NAME(columns_block)(W_j, op->ld, b_j, a, op->n_in, z + j, op->accumulate, 5); break;
        case 4: NAME(columns_block)(W_j, op->ld, b_j, a, op->n_in, z + j, op->accumulate, 4); break;
        case 2: NAME(columns_block)(W_j, op->ld, b_j, a, op->n_in, z + j, op->accumulate, 2); break;
        default: NAME(columns_block)(W_j, op->ld, b_j, a, op->n_in, z + j, op->accumulate, 1); break;
        }
    }
}

/* The list of inputs that are not 0, or NULL if all are to be used. */
INLINE const uint16_t *NAME(nonzero)(const cmlp_op *op, const REAL *activations) {
    return op->nonzero_in < 0 ? NULL : (const uint16_t *)(activations + op->nonzero_in);
}

/* out = f(z), and which of out are not 0, if a later layer wants to know. */
INLINE void NAME(activate_op)(const cmlp_op *op, const REAL *z, REAL *activations) {
    NAME(activate)(op->activation, op->n_out, (REAL)op->alpha, z, activations + op->out);
    if (op->nonzero_out >= 0)
        NAME(list_nonzero)(op->n_out, activations + op->out, (uint16_t *)(activations + op->nonzero_out));
}

/* Whether a layer is one vector of units by rows: then no loop over units is needed, which is most of the cost of small
 * networks. */
INLINE int NAME(is_narrow)(const cmlp_op *op) {
    return op->n_out <= LANES && op->kind == CMLP_DENSE && op->layout == CMLP_ROWS && op->nonzero_out < 0 &&
           !op->accumulate;
}

INLINE void NAME(narrow_forward)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z, REAL *out) {
    const ptrdiff_t n_in = op->n_in, n_out = op->n_out, ld = op->ld;
    VEC even = b ? NAME(load)(b) : (VEC){0}, odd = {0};
    ptrdiff_t i = 0;
    for (; i + 2 <= n_in; i += 2, W += 2 * ld) {
        even += a[i] * NAME(load)(W);
        odd += a[i + 1] * NAME(load)(W + ld);
    }
    if (i < n_in) even += a[i] * NAME(load)(W);
    NAME(store_first)(z, even + odd, n_out);
    if (op->activation == CMLP_RELU)
        NAME(store_first)(out, NAME(relu)(even + odd), n_out);
    else
        NAME(activate)(op->activation, n_out, (REAL)op->alpha, z, out);
}

static void NAME(forward)(const cmlp_op *op, const void *params, const void *x, void *activations) {
    REAL *buffer = activations;
    const REAL *in = op->source < 0 ? (const REAL *)x : buffer + op->source;
    if (NAME(is_narrow)(op)) {
        const REAL *p = params;
        NAME(narrow_forward)(op, p + op->weights, op->biases < 0 ? NULL : p + op->biases, in, buffer + op->z,
                             buffer + op->out);
        return;
    }
    REAL *out = buffer + op->out;
    if (op->kind == CMLP_DENSE) {
        const REAL *W = (const REAL *)params + op->weights;
        const REAL *b = op->biases < 0 ? NULL : (const REAL *)params + op->biases;
        REAL *z = buffer + op->z;
        if (op->layout == CMLP_ROWS)
            NAME(rows_forward)(op, W, b, in, z, NAME(nonzero)(op, buffer));
        else
            NAME(columns_forward)(op, W, b, in, z);
        NAME(activate_op)(op, z, buffer);
    } else if (op->kind == CMLP_ACTIVATION) {
        if (op->source < 0) in = memcpy(out, x, op->n_in * sizeof(REAL)); /* x has no padding */
        NAME(activate_op)(op, in, buffer);
    } else if (op->accumulate) {
        for (ptrdiff_t i = 0; i < op->n_out; i++) out[i] += in[i];
    } else {
        for (ptrdiff_t i = 0; i < op->n_out; i++) out[i] = in[i];
    }
}

/* ------------------------------------------------------------------------------------------- dense, backward */

/* K <= 4 rows of W in one pass: lanes of W_k · δ with the weights as they are into sum, then G_k += a_k u. */
INLINE void NAME(few_rows)(ptrdiff_t n_out, const REAL *W, REAL *G, const ptrdiff_t *row, const REAL *a, const REAL *d,
                           const REAL *u, VEC *sum, const int K, const int want_da, const int in_place) {
    for (ptrdiff_t j = 0; j < n_out; j += LANES) {
        const VEC d_j = NAME(load)(d + j), u_j = NAME(load)(u + j);
        VEC w[4];
#pragma GCC unroll 4
        for (int k = 0; k < K; k++) w[k] = NAME(load)((in_place ? G : W) + row[k] + j);
#pragma GCC unroll 4
        for (int k = 0; want_da && k < K; k++) sum[k] += w[k] * d_j;
#pragma GCC unroll 4
        for (int k = 0; k < K; k++)
            NAME(store)(G + row[k] + j, (in_place ? w[k] : NAME(load)(G + row[k] + j)) + a[k] * u_j);
    }
}

/* One pass over W (n_in, ld) by rows, four rows at a time: da_i (+)= W_i · δ, then G_i += a_i u. G may be W itself (the
 * per-sample update). δ and u = scale δ̃ end in zeros up to ld. `list` (if sparse): the inputs that are not 0. Nothing
 * changes in the rows of the others, and what reads their da_i multiplies it by f' = 0. */
INLINE void NAME(rows_backward)(const cmlp_op *op, const REAL *W, REAL *G, const REAL *a, const REAL *d, const REAL *u,
                                REAL *da, const uint16_t *list, const int want_da, const int in_place,
                                const int sparse) {
    const int add = op->input_gradient == CMLP_ACCUMULATE;
    const ptrdiff_t n = sparse ? list[0] : op->n_in, n_out = op->n_out, ld = op->ld;
    ptrdiff_t i = 0;
#define INPUT(i) (sparse ? (ptrdiff_t)list[(i) + 1] : (i))
    for (; i + 4 <= n; i += 4) {
        const ptrdiff_t at[4] = {INPUT(i), INPUT(i + 1), INPUT(i + 2), INPUT(i + 3)};
        const ptrdiff_t row[4] = {at[0] * ld, at[1] * ld, at[2] * ld, at[3] * ld};
        const REAL a_i[4] = {a[at[0]], a[at[1]], a[at[2]], a[at[3]]};
        VEC sum[4] = {{0}, {0}, {0}, {0}};
        REAL sums[4];
        NAME(few_rows)(n_out, W, G, row, a_i, d, u, sum, 4, want_da, in_place);
        if (want_da && !sparse) NAME(store_four_sums)(da + i, sum, add);
        if (want_da && sparse) {
            NAME(store_four_sums)(sums, sum, 0);
            for (int k = 0; k < 4; k++) da[at[k]] = add ? da[at[k]] + sums[k] : sums[k];
        }
    }
    for (; i < n; i++) {
        const ptrdiff_t at = INPUT(i), row = at * ld;
        VEC sum = {0};
        NAME(few_rows)(n_out, W, G, &row, a + at, d, u, &sum, 1, want_da, in_place);
        if (want_da) da[at] = NAME(sum)(sum) + (add ? da[at] : 0);
    }
#undef INPUT
}

/* The same for W (n_out, ld) by columns: a vector of inputs at a time, da = Σ_j δ_j W_j. u = scale δ̃. */
INLINE void NAME(columns_step)(const cmlp_op *op, const REAL *read, REAL *G, ptrdiff_t i, const VEC *a, const REAL *d,
                               const REAL *u, VEC *da, const int want_da, const int in_place, const int U) {
    const REAL *W = in_place ? G : read;
#pragma GCC unroll 4
    for (int v = 0; v < U; v++) da[v] = (VEC){0};
    for (ptrdiff_t j = 0; j < op->n_out; j++) {
#pragma GCC unroll 4
        for (int v = 0; v < U; v++) {
            const ptrdiff_t k = j * op->ld + i + v * LANES;
            const VEC w = NAME(load)(W + k);
            if (want_da) da[v] += d[j] * w;
            NAME(store)(G + k, (in_place ? w : NAME(load)(G + k)) + u[j] * a[v]);
        }
    }
}

INLINE void NAME(columns_backward)(const cmlp_op *op, const REAL *W, REAL *G, const REAL *a, const REAL *d,
                                   const REAL *u, REAL *da, const int want_da, const int in_place) {
    const int add = op->input_gradient == CMLP_ACCUMULATE;
    VEC a_i[4], da_i[4];
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= op->n_in; i += 4 * LANES) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) a_i[v] = NAME(load)(a + i + v * LANES);
        NAME(columns_step)(op, W, G, i, a_i, d, u, da_i, want_da, in_place, 4);
#pragma GCC unroll 4
        for (int v = 0; want_da && v < 4; v++)
            NAME(store)(da + i + v * LANES, add ? NAME(load)(da + i + v * LANES) + da_i[v] : da_i[v]);
    }
    for (; i < op->n_in; i += LANES) {
        const ptrdiff_t left = op->n_in - i;
        a_i[0] = left >= LANES ? NAME(load)(a + i) : NAME(load_exactly)(a + i, left);
        NAME(columns_step)(op, W, G, i, a_i, d, u, da_i, want_da, in_place, 1);
        if (want_da) NAME(store_first)(da + i, add ? NAME(load)(da + i) + da_i[0] : da_i[0], left);
    }
}

/* δ = J_fᵀ ∂ℓ/∂a into the error buffer and, padded with zeros, into d; scale · δ̃ into u. Returns the number of
 * clipped elements. ∂ℓ/∂a was stored a moment ago in pieces of 16 bytes or single elements: it is loaded in the same
 * pieces, which the processor can hand over from its store buffer. */
INLINE ptrdiff_t NAME(error_loop)(const cmlp_op *op, const REAL *z, const REAL *a, const REAL *da, REAL *dz, REAL psi,
                                  REAL scale, REAL *d, REAL *u, const int activation) {
    const ptrdiff_t n = op->n_out;
    const REAL dot = activation == CMLP_SOFTMAX ? NAME(dot)(n, a, da) : 0, alpha = (REAL)op->alpha;
    VEC clipped = {0};
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ptrdiff_t left = n - j;
        VEC delta = left == 1 ? (VEC){da[j]} : NAME(load_in_16s)(da + j);
        delta = NAME(activation_backward)(activation, NAME(load)(z + j), NAME(load)(a + j), delta, alpha, dot);
        if (left < LANES) delta = (VEC)((IVEC)delta & NAME(first_lanes)(left));
        const IVEC above = delta > psi, below = delta < -psi; /* false for NaN, which stays */
        VEC limited = NAME(select)(above, NAME(broadcast)(psi), delta);
        limited = NAME(select)(below, NAME(broadcast)(-psi), limited);
        clipped += (VEC)((above | below) & (IVEC)NAME(broadcast)(1));
        NAME(store_first)(dz + j, delta, left);
        NAME(store)(d + j, delta);
        NAME(store)(u + j, scale * limited);
    }
    return (ptrdiff_t)NAME(sum)(clipped);
}

static ptrdiff_t NAME(error_term)(const cmlp_op *op, const REAL *z, const REAL *a, const REAL *da, REAL *dz, REAL psi,
                                  REAL scale, REAL *d, REAL *u) {
#define LOOP(activation) NAME(error_loop)(op, z, a, da, dz, psi, scale, d, u, activation)
    switch (op->fused ? CMLP_IDENTITY : op->activation) { /* one loop for each: no choice per vector */
    case CMLP_RELU: return LOOP(CMLP_RELU);
    case CMLP_LEAKY_RELU: return LOOP(CMLP_LEAKY_RELU);
    case CMLP_SIGMOID: return LOOP(CMLP_SIGMOID);
    case CMLP_TANH: return LOOP(CMLP_TANH);
    case CMLP_SOFTMAX: return LOOP(CMLP_SOFTMAX);
    case CMLP_ELU: return LOOP(CMLP_ELU);
    case CMLP_SELU: return LOOP(CMLP_SELU);
    case CMLP_GELU: return LOOP(CMLP_GELU);
    case CMLP_SILU: return LOOP(CMLP_SILU);
    case CMLP_SOFTPLUS: return LOOP(CMLP_SOFTPLUS);
    case CMLP_HARD_SIGMOID: return LOOP(CMLP_HARD_SIGMOID);
    case CMLP_SOFTSIGN: return LOOP(CMLP_SOFTSIGN);
    case CMLP_EXP: return LOOP(CMLP_EXP);
    default: return LOOP(CMLP_IDENTITY);
    }
#undef LOOP
}

static ptrdiff_t NAME(dense_backward)(const cmlp_op *op, const REAL *params, REAL *target, REAL scale, REAL psi,
                                      const REAL *in, const REAL *a, REAL *errors, REAL *d) {
    REAL *u = d + (op->n_out + LANES - 1) / LANES * LANES, *da = errors + op->source;
    const ptrdiff_t count =
        NAME(error_term)(op, a + op->z, a + op->out, errors + op->out, errors + op->z, psi, scale, d, u);
    const REAL *W = params + op->weights;
    REAL *G = target + op->weights;
    const int in_place = params == target, want_da = op->input_gradient != CMLP_NOT_WANTED;
    if (op->layout == CMLP_ROWS) {
        const uint16_t *list = NAME(nonzero)(op, a);
        if (!want_da) /* W is not read: G may stand for it */
            NAME(rows_backward)(op, G, G, in, d, u, da, NULL, 0, 1, 0);
        else if (!in_place)
            NAME(rows_backward)(op, W, G, in, d, u, da, NULL, 1, 0, 0);
        else if (list)
            NAME(rows_backward)(op, W, G, in, d, u, da, list, 1, 1, 1);
        else
            NAME(rows_backward)(op, W, G, in, d, u, da, NULL, 1, 1, 0);
    } else {
        if (want_da && in_place)
            NAME(columns_backward)(op, W, G, in, d, u, da, 1, 1);
        else if (want_da)
            NAME(columns_backward)(op, W, G, in, d, u, da, 1, 0);
        else
            NAME(columns_backward)(op, G, G, in, d, u, da, 0, 1);
    }
    if (op->biases >= 0) { /* ∂ℓ/∂b = δ */
        REAL *b = target + op->biases;
        for (ptrdiff_t j = 0; j < op->n_out; j += LANES) NAME(store)(b + j, NAME(load)(b + j) + NAME(load)(u + j));
    }
    return count;
}

/* Whether the short way back is open: an f' that takes a few operations on a. */
INLINE int NAME(is_simple)(const cmlp_op *op) {
    return op->fused || op->activation == CMLP_IDENTITY || op->activation == CMLP_RELU ||
           op->activation == CMLP_SIGMOID || op->activation == CMLP_TANH;
}

/* The same for a narrow layer: δ and u stay in registers. */
INLINE ptrdiff_t NAME(narrow_backward)(const cmlp_op *op, REAL *params, REAL scale, REAL psi, const REAL *in,
                                       const REAL *a, REAL *errors) {
    const ptrdiff_t n_in = op->n_in, n_out = op->n_out, ld = op->ld;
    const int want_da = op->input_gradient != CMLP_NOT_WANTED, add = op->input_gradient == CMLP_ACCUMULATE;
    REAL *W = params + op->weights, *da = errors + op->source;
    VEC d = n_out == 1 ? (VEC){errors[op->out]} : NAME(load_in_16s)(errors + op->out);
    const VEC a_out = NAME(load)(a + op->out);
    switch (op->fused ? CMLP_IDENTITY : op->activation) {
    case CMLP_RELU: d = NAME(activation_backward)(CMLP_RELU, a_out, a_out, d, 0, 0); break;
    case CMLP_SIGMOID: d = NAME(activation_backward)(CMLP_SIGMOID, a_out, a_out, d, 0, 0); break;
    case CMLP_TANH: d = NAME(activation_backward)(CMLP_TANH, a_out, a_out, d, 0, 0); break;
    }
    d = (VEC)((IVEC)d & NAME(first_lanes)(n_out));
    const IVEC above = d > psi, below = d < -psi;
    const uint64_t clipped = NAME(bits)(above | below);
    VEC u = d;
    if (clipped) u = NAME(select)(above, NAME(broadcast)(psi), NAME(select)(below, NAME(broadcast)(-psi), d));
    u *= scale;
    NAME(store_first)(errors + op->z, d, n_out);
    ptrdiff_t i = 0;
    for (; i + 4 <= n_in; i += 4, W += 4 * ld) {
        const VEC w0 = NAME(load)(W), w1 = NAME(load)(W + ld), w2 = NAME(load)(W + 2 * ld), w3 = NAME(load)(W + 3 * ld);
        const VEC products[4] = {w0 * d, w1 * d, w2 * d, w3 * d};
        if (want_da) NAME(store_four_sums)(da + i, products, add);
        NAME(store)(W, w0 + in[i] * u);
        NAME(store)(W + ld, w1 + in[i + 1] * u);
        NAME(store)(W + 2 * ld, w2 + in[i + 2] * u);
        NAME(store)(W + 3 * ld, w3 + in[i + 3] * u);
    }
    for (; i < n_in; i++, W += ld) {
        const VEC w = NAME(load)(W);
        if (want_da) da[i] = NAME(sum)(w * d) + (add ? da[i] : 0);
        NAME(store)(W, w + in[i] * u);
    }
    if (op->biases >= 0) NAME(store)(params + op->biases, NAME(load)(params + op->biases) + u);
    return clipped ? (ptrdiff_t)__builtin_popcountll(clipped) : 0;
}

static ptrdiff_t NAME(backward)(const cmlp_op *op, const void *params, void *target, double scale, double clip_delta,
                                const void *x, const void *activations, void *errors, void *scratch) {
    const REAL *a = activations;
    REAL *error = errors, *d = scratch;
    if (op->kind == CMLP_DENSE) {
        const REAL *in = op->source < 0 ? (const REAL *)x : a + op->source;
        if (params == target && NAME(is_narrow)(op) && NAME(is_simple)(op))
            return NAME(narrow_backward)(op, target, (REAL)scale, (REAL)clip_delta, in, a, error);
        return NAME(dense_backward)(op, params, target, (REAL)scale, (REAL)clip_delta, in, a, error, d);
    }
    if (op->input_gradient == CMLP_NOT_WANTED) return 0;
    const REAL *d_in = error + op->out;
    if (op->kind == CMLP_ACTIVATION) { /* nothing to update, so nothing to clip */
        NAME(error_term)(op, a + op->z, a + op->out, d_in, d, INFINITY, 1, d,
                         d + (op->n_out + LANES - 1) / LANES * LANES);
        d_in = d;
    }
    REAL *da = error + op->source;
    const int add = op->input_gradient == CMLP_ACCUMULATE;
    for (ptrdiff_t i = 0; i < op->n_in; i++) da[i] = add ? da[i] + d_in[i] : d_in[i];
    return 0;
}

#include "block.h"

#include "batch.h"

/* --------------------------------------------------------------------------------------------------- losses */

/* ŷ moved into the closed domain of the logarithm, by one eps at most: [eps, 1 - eps], or [eps, inf) with
 * upper = inf. Outside [0, upper] the loss is not defined: NaN. */
INLINE REAL NAME(into_domain)(REAL a, REAL upper) {
    const REAL eps = DOUBLE_PRECISION ? (REAL)0x1p-52 : (REAL)0x1p-23;
    if (!(a >= 0 && a <= upper)) return NAN;
    return a < eps ? eps : a > upper - eps ? upper - eps : a;
}

/* ℓ = -Σ y_i log ŷ_i; y NULL: y is one-hot at `label`. Smoothing ε takes (1 - ε) y_i + ε/n for y_i. With softmax, δ = ŷ Σy - y, where Σy = 1 but for rounding, and
 * log ŷ_i comes from the logits where ŷ_i is too small: log ŷ_i = z_i - m - log Σ e^{z_j - m}. */
static double NAME(cross_entropy)(double smoothing, int fused, ptrdiff_t n, const REAL *z, const REAL *a, const REAL *y,
                                  int64_t label, double weight, REAL *error) {
    const REAL kept = (REAL)(1 - smoothing), spread = (REAL)(smoothing / (double)n);
    double loss = 0, log_sum = NAN;
    REAL total = y ? 0 : 1;
    for (ptrdiff_t i = 0; y && i < n; i++) total += y[i];
    if (y) total = kept * total + (REAL)smoothing;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL y_i = kept * (y ? y[i] : (REAL)(i == label)) + spread;
        if (fused) {
            error[i] = (REAL)weight * (a[i] * total - y_i);
            if (y_i == 0) continue;
            if (a[i] > (REAL)1e-6) {
                loss -= (double)y_i * log((double)a[i]);
                continue;
            }
            if (log_sum != log_sum) {
                double max = z[0], sum = 0;
                for (ptrdiff_t j = 1; j < n; j++) max = z[j] > max ? (double)z[j] : max;
                for (ptrdiff_t j = 0; j < n; j++) sum += exp((double)z[j] - max);
                log_sum = max + log(sum);
            }
            loss -= (double)y_i * ((double)z[i] - log_sum);
        } else if (y_i == 0) {
            error[i] = 0;
        } else {
            const REAL a_i = NAME(into_domain)(a[i], INFINITY);
            error[i] = (REAL)weight * (-y_i / a_i);
            loss -= (double)y_i * log((double)a_i);
        }
    }
    return loss;
}

/* ℓ = -Σ y log ŷ + (1-y) log(1-ŷ). With sigmoid, from the logits: max(z, 0) - y z + log(1 + e^{-|z|}), δ = ŷ - y. */
static double NAME(binary_cross_entropy)(int fused, ptrdiff_t n, const REAL *z, const REAL *a, const REAL *y,
                                         double weight, REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double y_i = y[i];
        if (fused) {
            const double z_i = z[i];
            error[i] = (REAL)weight * (a[i] - y[i]);
            loss += (z_i > 0 ? z_i : 0) - y_i * z_i + log1p(exp(-fabs(z_i)));
        } else {
            const REAL a_i = NAME(into_domain)(a[i], 1);
            error[i] = (REAL)weight * ((a_i - y[i]) / (a_i * (1 - a_i)));
            loss -= y_i * log((double)a_i) + (1 - y_i) * log1p(-(double)a_i);
        }
    }
    return loss;
}

static double NAME(squared_error)(ptrdiff_t n, const REAL *a, const REAL *y, double weight, REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL difference = a[i] - y[i];
        error[i] = (REAL)weight * difference;
        loss += 0.5 * (double)difference * (double)difference;
    }
    return loss;
}

/* ℓ = Σ |ŷ - y|; derivative 0 at 0. */
static double NAME(absolute_error)(ptrdiff_t n, const REAL *a, const REAL *y, double weight, REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL r = a[i] - y[i];
        error[i] = (REAL)weight * (r > 0 ? 1 : r < 0 ? -1 : r);
        loss += fabs((double)r);
    }
    return loss;
}

/* ℓ = Σ ½ r² where |r| <= δ, δ (|r| - δ/2) elsewhere; r = ŷ - y. */
static double NAME(huber)(double delta, ptrdiff_t n, const REAL *a, const REAL *y, double weight, REAL *error) {
    const REAL limit = (REAL)delta;
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL r = a[i] - y[i];
        const double size = fabs((double)r);
        error[i] = (REAL)weight * (r > limit ? limit : r < -limit ? -limit : r);
        loss += size <= delta ? 0.5 * size * size : delta * (size - 0.5 * delta);
    }
    return loss;
}

/* ℓ = Σ q (y - ŷ) where ŷ < y, (1 - q) (ŷ - y) elsewhere: the pinball loss; derivative 0 at ŷ = y. */
static double NAME(quantile)(double q, ptrdiff_t n, const REAL *a, const REAL *y, double weight, REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL r = a[i] - y[i];
        const double slope = r > 0 ? 1 - q : r < 0 ? -q : 0;
        error[i] = (REAL)weight * (REAL)slope;
        loss += r == 0 ? 0 : r != r ? (double)r : slope * (double)r;
    }
    return loss;
}

/* ℓ = Σ ŷ - y log ŷ. With exp, log ŷ = z and δ = ŷ - y. */
static double NAME(poisson)(int fused, ptrdiff_t n, const REAL *z, const REAL *a, const REAL *y, double weight,
                            REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (fused) {
            error[i] = (REAL)weight * (a[i] - y[i]);
            loss += (double)a[i] - (double)y[i] * (double)z[i];
        } else {
            const REAL a_i = NAME(into_domain)(a[i], INFINITY);
            error[i] = (REAL)weight * (1 - y[i] / a_i);
            loss += (double)a[i] - (double)y[i] * log((double)a_i);
        }
    }
    return loss;
}

/* ℓ = Σ max(0, 1 - s ŷ), s = 1 where y > 0 and -1 elsewhere; y NULL: s = 1 at `label` only. */
static double NAME(hinge)(ptrdiff_t n, const REAL *a, const REAL *y, int64_t label, double weight, REAL *error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL sign = (y ? y[i] > 0 : i == label) ? 1 : -1, margin = sign * a[i];
        error[i] = margin < 1 ? (REAL)weight * -sign : 0;
        loss += margin >= 1 ? 0 : 1 - (double)margin;
    }
    return loss;
}

static double NAME(loss)(int loss, double parameter, int fused, ptrdiff_t n, const void *z, const void *a,
                         const void *y, int64_t label, double weight, void *error) {
    switch (loss) {
    case CMLP_CROSS_ENTROPY: return NAME(cross_entropy)(parameter, fused, n, z, a, y, label, weight, error);
    case CMLP_BINARY_CROSS_ENTROPY: return NAME(binary_cross_entropy)(fused, n, z, a, y, weight, error);
    case CMLP_ABSOLUTE_ERROR: return NAME(absolute_error)(n, a, y, weight, error);
    case CMLP_HUBER: return NAME(huber)(parameter, n, a, y, weight, error);
    case CMLP_QUANTILE: return NAME(quantile)(parameter, n, a, y, weight, error);
    case CMLP_POISSON: return NAME(poisson)(fused, n, z, a, y, weight, error);
    case CMLP_HINGE: return NAME(hinge)(n, a, y, label, weight, error);
    default: return NAME(squared_error)(n, a, y, weight, error);
    }
}

/* -------------------------------------------------------------------------- over the flat parameter vector */

static void NAME(activate_slice)(int activation, ptrdiff_t n, double alpha, const void *z, void *a) {
    NAME(activate)(activation, n, (REAL)alpha, z, a);
}

static void NAME(clip)(ptrdiff_t n, void *gradient, double clip) {
    REAL *g = gradient, limit = (REAL)clip;
    for (ptrdiff_t i = 0; i < n; i++) g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

static double NAME(sum_of_squares)(ptrdiff_t n, const void *values) {
    const REAL *v = values;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (ptrdiff_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sum;
}

#include "steps.h"

static void NAME(add_signs)(ptrdiff_t n, void *gradient, const void *weights, double scale) {
    REAL *restrict g = gradient;
    const REAL *restrict w = weights;
    const REAL s = (REAL)scale;
    for (ptrdiff_t i = 0; i < n; i++) g[i] += w[i] > 0 ? s : w[i] < 0 ? -s : 0;
}

/* By rows the squares of some units are summed side by side, by columns those of one after the other; each unit's sum has
 * the same order whatever `from` is, as long as it is a multiple of UNITS. */
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

static void NAME(average)(ptrdiff_t n, void *average, const void *weights, double decay) {
    REAL *restrict a = average;
    const REAL *restrict w = weights;
    const REAL d = (REAL)decay, share = (REAL)(1 - decay);
    for (ptrdiff_t i = 0; i < n; i++) a[i] = d * a[i] + share * w[i];
}

static void NAME(drop)(ptrdiff_t n, uint64_t key, double rate, void *values) {
    const uint64_t threshold = (uint64_t)(rate * 0x1p32);
    const REAL scale = (REAL)(1 / (1 - rate));
    REAL *v = values;
    for (ptrdiff_t i = 0; i < n; i += 2) {
        key += CMLP_GOLDEN_GAMMA;
        const uint64_t bits = cmlp_mix(key);
        v[i] = (uint32_t)bits >= threshold ? scale * v[i] : 0; /* no NaN survives: a dropped element has no influence */
        if (i + 1 < n) v[i + 1] = bits >> 32 >= threshold ? scale * v[i + 1] : 0;
    }
}

static void NAME(standardize)(ptrdiff_t n, const void *x, const void *mean, const void *scale, void *out) {
    const REAL *restrict from = x, *restrict m = mean, *restrict s = scale;
    REAL *restrict to = out;
    for (ptrdiff_t i = 0; i < n; i++) to[i] = (from[i] - m[i]) * s[i];
}

/* Welford: d = x - μ, S ← S + d² N / (N + 1), μ ← μ + d / (N + 1); σ² = S / N. */
static int NAME(learn_scale)(ptrdiff_t n, const void *x, double *count, double *mean, double *squares, void *shift,
                             void *scale) {
    const REAL *from = x;
    REAL *m = shift, *s = scale;
    int finite = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double total = count[i] + 1;
        if (count[i] == 0) mean[i] = from[i];
        const double d = from[i] - mean[i];
        squares[i] += d * d * count[i] / total;
        mean[i] += d / total;
        count[i] = total;
        m[i] = (REAL)mean[i];
        const REAL inverse = (REAL)(1 / sqrt(squares[i] / total));
        s[i] = inverse > 0 && isfinite(inverse) ? inverse : 1;
        finite &= isfinite(squares[i]) != 0;
    }
    return finite;
}

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

static const cmlp_kernels NAME(kernels) = {
    NAME(forward),        NAME(backward),      NAME(loss),
    NAME(activate_slice), NAME(clip),          NAME(sum_of_squares),
    NAME(prepare_step),   NAME(step),          NAME(first_nonfinite),
    NAME(block_turn),     NAME(block_forward), NAME(block_backward),
    NAME(batch_forward),  NAME(batch_errors),  NAME(batch_gradient),
    NAME(add_signs),      NAME(limit_norms),   NAME(average),
    NAME(drop),           NAME(standardize),   NAME(learn_scale),
};

#undef REAL
#undef ROOT
#undef LARGEST_REAL
#undef INT
#undef UINT
#undef VEC
#undef IVEC
#undef UVEC
#undef VEC16
#undef LANES
#undef INLINE
#undef SUFFIX
#undef DOUBLE_PRECISION
