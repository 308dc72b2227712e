/* Exact per-sample SGD in blocks, for the layer that reads the samples: W is read and written once per BLOCK samples
 * instead of once per sample. With u_s = -γ_s δ̃_s, s = 0..BLOCK-1, the updates of a block (δ̃ clipped, the sample's own
 * rate), and W, b the parameters before the block, plain per-sample SGD has
 *
 *     z_t = Wᵀ x_t + b + Σ_{s<t} (x_s·x_t + 1) u_s,
 *
 * so all Wᵀ x_t can be had at once, corrected one after the other with the Gram matrix of the block's inputs, and the
 * updates W += Σ_s x_s u_sᵀ made at once, in the same pass over W that multiplies the next block's inputs. Included by
 * body.h for each (instruction-set level, dtype).
 *
 * Buffers: U, Z (BLOCK, ld_z) one padded row per sample; G (BLOCK, BLOCK), below the diagonal x_s·x_t (+ 1 with a bias).
 */

#define BLOCK CMLP_BLOCK

/* G_ts += x_t · x_s over n inputs; `whole`: n is a multiple of LANES. */
INLINE void NAME(gram)(ptrdiff_t n, const REAL *const *x, REAL *G, const int whole) {
    VEC sum[6] = {{0}, {0}, {0}, {0}, {0}, {0}};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        VEC x_i[BLOCK];
#pragma GCC unroll 4
        for (int t = 0; t < BLOCK; t++)
            x_i[t] = whole || n - i >= LANES ? NAME(load)(x[t] + i) : NAME(load_exactly)(x[t] + i, n - i);
        sum[0] += x_i[1] * x_i[0];
        sum[1] += x_i[2] * x_i[0];
        sum[2] += x_i[2] * x_i[1];
        sum[3] += x_i[3] * x_i[0];
        sum[4] += x_i[3] * x_i[1];
        sum[5] += x_i[3] * x_i[2];
    }
    for (int t = 1, k = 0; t < BLOCK; t++)
        for (int s = 0; s < t; s++, k++) G[t * BLOCK + s] += NAME(sum)(sum[k]);
}

/* W by rows: a block of R vectors of columns, all inputs. */
INLINE void NAME(rows_turn)(REAL *W, ptrdiff_t ld, ptrdiff_t n_in, const REAL *const *before, const REAL *U,
                            const REAL *const *next, REAL *Z, ptrdiff_t ld_z, const int R, const int updates,
                            const int multiplies) {
    VEC z[BLOCK][2];
#pragma GCC unroll 8
    for (int k = 0; k < BLOCK * R; k++) z[k / R][k % R] = (VEC){0};
    for (ptrdiff_t i = 0; i < n_in; i++, W += ld) {
        VEC w[2];
        __builtin_prefetch(W + 8 * ld, 1);
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) w[r] = NAME(load)(W + r * LANES);
        if (updates) {
#pragma GCC unroll 8
            for (int k = 0; k < BLOCK * R; k++)
                w[k % R] += before[k / R][i] * NAME(load)(U + k / R * ld_z + k % R * LANES);
#pragma GCC unroll 2
            for (int r = 0; r < R; r++) NAME(store)(W + r * LANES, w[r]);
        }
        if (multiplies) {
#pragma GCC unroll 8
            for (int k = 0; k < BLOCK * R; k++) z[k / R][k % R] += next[k / R][i] * w[k % R];
        }
    }
    if (multiplies) {
#pragma GCC unroll 8
        for (int k = 0; k < BLOCK * R; k++) NAME(store)(Z + k / R * ld_z + k % R * LANES, z[k / R][k % R]);
    }
}

/* W by columns: n inputs (whole vectors) that fit the first-level cache together with the samples. Zᵀ (n_out, BLOCK). */
INLINE void NAME(columns_products)(const REAL *W, ptrdiff_t ld, ptrdiff_t n, const REAL *const *next, REAL *Zt,
                                   const int J) {
    VEC sum[3][BLOCK];
#pragma GCC unroll 12
    for (int k = 0; k < J * BLOCK; k++) sum[k / BLOCK][k % BLOCK] = (VEC){0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        VEC w[3];
#pragma GCC unroll 3
        for (int j = 0; j < J; j++) w[j] = NAME(load)(W + j * ld + i);
#pragma GCC unroll 12
        for (int k = 0; k < J * BLOCK; k++) sum[k / BLOCK][k % BLOCK] += w[k / BLOCK] * NAME(load)(next[k % BLOCK] + i);
    }
#pragma GCC unroll 3
    for (int j = 0; j < J; j++) NAME(store_four_sums)(Zt + j * BLOCK, sum[j], 1);
}

static void NAME(columns_tile)(REAL *W, ptrdiff_t ld, ptrdiff_t n_out, ptrdiff_t n, const REAL *const *before,
                               const REAL *U, ptrdiff_t ld_z, const REAL *const *next, REAL *Zt, REAL *G) {
    if (before) {
        for (ptrdiff_t j = 0; j < n_out; j++) {
            const VEC u0 = NAME(broadcast)(U[j]), u1 = NAME(broadcast)(U[ld_z + j]);
            const VEC u2 = NAME(broadcast)(U[2 * ld_z + j]), u3 = NAME(broadcast)(U[3 * ld_z + j]);
            REAL *w = W + j * ld;
            for (ptrdiff_t i = 0; i < n; i += LANES) {
                VEC w_i = NAME(load)(w + i);
                w_i += u0 * NAME(load)(before[0] + i);
                w_i += u1 * NAME(load)(before[1] + i);
                w_i += u2 * NAME(load)(before[2] + i);
                w_i += u3 * NAME(load)(before[3] + i);
                NAME(store)(w + i, w_i);
            }
        }
    }
    if (next) {
        ptrdiff_t j = 0;
        for (; j + 3 <= n_out; j += 3) NAME(columns_products)(W + j * ld, ld, n, next, Zt + j * BLOCK, 3);
        if (n_out - j == 2) NAME(columns_products)(W + j * ld, ld, n, next, Zt + j * BLOCK, 2);
        if (n_out - j == 1) NAME(columns_products)(W + j * ld, ld, n, next, Zt + j * BLOCK, 1);
        NAME(gram)(n, next, G, 1);
    }
}

static void NAME(columns_turn)(const cmlp_op *op, REAL *W, const REAL *const *before, const REAL *U, ptrdiff_t ld_z,
                               const REAL *const *next, REAL *Z, REAL *G) {
    const ptrdiff_t tile = 2048 / sizeof(REAL), whole = op->n_in / LANES * LANES;
    REAL *Zt = G + BLOCK * BLOCK; /* (n_out, BLOCK) */
    const REAL *b4[BLOCK], *n4[BLOCK];
    if (next) memset(Zt, 0, (size_t)(op->n_out * BLOCK) * sizeof(REAL));
    for (ptrdiff_t i = 0; i < whole; i += tile) {
        for (int t = 0; t < BLOCK; t++) {
            if (before) b4[t] = before[t] + i;
            if (next) n4[t] = next[t] + i;
        }
        NAME(columns_tile)(W + i, op->ld, op->n_out, whole - i < tile ? whole - i : tile, before ? b4 : NULL, U, ld_z,
                           next ? n4 : NULL, Zt, G);
    }
    if (whole < op->n_in) { /* the last, partial vector of every sample, padded with zeros as W is */
        VEC tails[2 * BLOCK];
        for (int t = 0; t < BLOCK; t++) {
            if (before) tails[t] = NAME(load_exactly)(before[t] + whole, op->n_in - whole);
            if (next) tails[BLOCK + t] = NAME(load_exactly)(next[t] + whole, op->n_in - whole);
            b4[t] = (const REAL *)&tails[t];
            n4[t] = (const REAL *)&tails[BLOCK + t];
        }
        NAME(columns_tile)(W + whole, op->ld, op->n_out, LANES, before ? b4 : NULL, U, ld_z, next ? n4 : NULL, Zt, G);
    }
    for (ptrdiff_t j = 0; next && j < op->n_out; j++)
        for (int t = 0; t < BLOCK; t++) Z[t * ld_z + j] = Zt[j * BLOCK + t];
}

static void NAME(block_turn)(const cmlp_op *op, void *params, const void *const *x_before, const void *updates,
                             const void *const *x_next, void *products, void *gram) {
    REAL *W = (REAL *)params + op->weights, *b = op->biases < 0 ? NULL : (REAL *)params + op->biases;
    const REAL *const *before = (const REAL *const *)x_before, *const *next = (const REAL *const *)x_next, *U = updates;
    REAL *Z = products, *G = gram;
    const ptrdiff_t ld_z = (op->n_out + LANES - 1) / LANES * LANES;
    if (next)
        for (int k = 0; k < BLOCK * BLOCK; k++) G[k] = b ? 1 : 0;
    if (op->layout == CMLP_COLUMNS) {
        NAME(columns_turn)(op, W, before, U, ld_z, next, Z, G);
    } else {
        if (next) NAME(gram)(op->n_in, next, G, 0);
        for (ptrdiff_t j = 0; j < ld_z;) {
            const int wide = ld_z - j >= 2 * LANES;
            if (before && next && wide)
                NAME(rows_turn)(W + j, op->ld, op->n_in, before, U + j, next, Z + j, ld_z, 2, 1, 1);
            else if (before && next)
                NAME(rows_turn)(W + j, op->ld, op->n_in, before, U + j, next, Z + j, ld_z, 1, 1, 1);
            else if (before)
                NAME(rows_turn)(W + j, op->ld, op->n_in, before, U + j, next, Z + j, ld_z, 1, 1, 0);
            else
                NAME(rows_turn)(W + j, op->ld, op->n_in, before, U + j, next, Z + j, ld_z, 1, 0, 1);
            j += before && next && wide ? 2 * LANES : LANES;
        }
    }
    for (ptrdiff_t j = 0; b && j < ld_z; j += LANES) {
        VEC b_j = NAME(load)(b + j);
        if (before) {
            for (int s = 0; s < BLOCK; s++) b_j += NAME(load)(U + s * ld_z + j);
            NAME(store)(b + j, b_j);
        }
        for (int t = 0; next && t < BLOCK; t++) NAME(store)(Z + t * ld_z + j, NAME(load)(Z + t * ld_z + j) + b_j);
    }
}

static void NAME(block_forward)(const cmlp_op *op, int t, const void *products, const void *gram, const void *updates,
                                void *activations) {
    const ptrdiff_t ld_z = (op->n_out + LANES - 1) / LANES * LANES;
    const REAL *Z = (const REAL *)products + t * ld_z, *G = (const REAL *)gram + t * BLOCK, *U = updates;
    REAL *z = (REAL *)activations + op->z;
    for (ptrdiff_t j = 0; j < op->n_out; j += LANES) {
        VEC z_j = NAME(load)(Z + j);
        for (int s = 0; s < t; s++) z_j += G[s] * NAME(load)(U + s * ld_z + j);
        NAME(store_first)(z + j, z_j, op->n_out - j);
    }
    NAME(activate)(op->activation, op->n_out, (REAL)op->alpha, z, (REAL *)activations + op->out);
}

static ptrdiff_t NAME(block_backward)(const cmlp_op *op, int t, double scale, double clip_delta,
                                      const void *activations, void *errors, void *scratch, void *updates) {
    const ptrdiff_t ld_z = (op->n_out + LANES - 1) / LANES * LANES;
    REAL *u = (REAL *)updates + t * ld_z, *e = errors;
    const ptrdiff_t count = NAME(error_term)(op, (const REAL *)activations + op->z, (const REAL *)activations + op->out,
                                             e + op->out, e + op->z, (REAL)clip_delta, scratch, u);
    for (ptrdiff_t j = 0; j < ld_z; j += LANES) NAME(store)(u + j, (REAL)scale * NAME(load)(u + j));
    return count;
}
#undef BLOCK
