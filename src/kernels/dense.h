/* One pass over W for one sample, in both layouts: forward z = Wᵀ a + b, and backward, which reads W for ∂ℓ/∂a and adds
 * to it, or to a gradient, in the same pass. */

/* ------------------------------------------------------------------------------------------------- forward */

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

/* ------------------------------------------------------------------------------------------------ backward */

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

/* The same for W (n_out, ld) by columns: a vector of inputs at a time, da = Σ_j δ_j W_j. u = scale δ̃. Of the last
 * vector, which comes alone (U = 1), `left` inputs count: the padding of G stays 0 even if u is not finite. */
INLINE void NAME(columns_step)(const cmlp_op *op, const REAL *read, REAL *G, ptrdiff_t i, const VEC *a, const REAL *d,
                               const REAL *u, VEC *da, const int want_da, const int in_place, const int U,
                               ptrdiff_t left) {
    const REAL *W = in_place ? G : read;
    const IVEC inside = NAME(first_lanes)(left < LANES ? left : LANES);
#pragma GCC unroll 4
    for (int v = 0; v < U; v++) da[v] = (VEC){0};
    for (ptrdiff_t j = 0; j < op->n_out; j++) {
#pragma GCC unroll 4
        for (int v = 0; v < U; v++) {
            const ptrdiff_t k = j * op->ld + i + v * LANES;
            const VEC w = NAME(load)(W + k);
            if (want_da) da[v] += d[j] * w;
            const VEC g = u[j] * a[v], change = U > 1 ? g : (VEC)((IVEC)g & inside);
            NAME(store)(G + k, (in_place ? w : NAME(load)(G + k)) + change);
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
        NAME(columns_step)(op, W, G, i, a_i, d, u, da_i, want_da, in_place, 4, LANES);
#pragma GCC unroll 4
        for (int v = 0; want_da && v < 4; v++)
            NAME(store)(da + i + v * LANES, add ? NAME(load)(da + i + v * LANES) + da_i[v] : da_i[v]);
    }
    for (; i < op->n_in; i += LANES) {
        const ptrdiff_t left = op->n_in - i;
        a_i[0] = left >= LANES ? NAME(load)(a + i) : NAME(load_exactly)(a + i, left);
        NAME(columns_step)(op, W, G, i, a_i, d, u, da_i, want_da, in_place, 1, left);
        if (want_da) NAME(store_first)(da + i, add ? NAME(load)(da + i) + da_i[0] : da_i[0], left);
    }
}
