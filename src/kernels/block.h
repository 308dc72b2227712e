/* Exact per-sample SGD in blocks, for the layer that reads the samples: W is read and written once per BLOCK samples
 * instead of once per sample. With u_s = -γ_s δ̃_s, s = 0..BLOCK-1, the updates of a block (δ̃ clipped, the sample's own
 * rate), and W, b the parameters before the block, plain per-sample SGD has
 *
 *     z_t = Wᵀ x_t + b + Σ_{s<t} (x_s·x_t + 1) u_s,
 *
 * so all Wᵀ x_t can be had at once, corrected one after the other with the Gram matrix of the block's inputs, and the
 * updates W += Σ_s x_s u_sᵀ made at once, in the same pass over W that multiplies the next block's inputs.
 *
 * Buffers: U, Z (BLOCK, ld_z) one padded row per sample; G (8,): x_s·x_t (+ 1 with a bias) for
 * s < t at t (t - 1) / 2 + s, and two unused places.
 */

#define BLOCK CMLP_BLOCK
#define PREFETCH (2048 / (ptrdiff_t)sizeof(REAL)) /* how far ahead the next samples are asked for */

/* What a turn reads besides W, and the Z that it adds to; `before` or `next` may be NULL. */
typedef struct {
    const REAL *const *before, *const *next, *U;
    REAL *Z;
    ptrdiff_t ld_z;
} NAME(turn);

/* G += x_t · x_s over n inputs. */
INLINE void NAME(gram)(ptrdiff_t n, const REAL *const *x, REAL *G) {
    const REAL *const x0 = x[0], *const x1 = x[1], *const x2 = x[2], *const x3 = x[3];
    VEC sum[8] = {{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}};
#define ADD_PRODUCTS(v0, v1, v2, v3)                             \
    {                                                            \
        const VEC p0 = v0, p1 = v1, p2 = v2, p3 = v3;            \
        sum[0] += p1 * p0, sum[1] += p2 * p0, sum[2] += p2 * p1; \
        sum[3] += p3 * p0, sum[4] += p3 * p1, sum[5] += p3 * p2; \
    }
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(x0 + i + PREFETCH);
        __builtin_prefetch(x1 + i + PREFETCH);
        __builtin_prefetch(x2 + i + PREFETCH);
        __builtin_prefetch(x3 + i + PREFETCH);
        ADD_PRODUCTS(NAME(load)(x0 + i), NAME(load)(x1 + i), NAME(load)(x2 + i), NAME(load)(x3 + i));
    }
    if (i < n)
        ADD_PRODUCTS(NAME(load_exactly)(x0 + i, n - i), NAME(load_exactly)(x1 + i, n - i),
                     NAME(load_exactly)(x2 + i, n - i), NAME(load_exactly)(x3 + i, n - i));
#undef ADD_PRODUCTS
    NAME(store_four_sums)(G, sum, 1);
    NAME(store_four_sums)(G + 4, sum + 4, 1);
}

/* W by rows: updates and products in one pass if both fit the registers, else in two over a few rows. */
#define ROWS_IN_ONE_PASS (N_REGISTERS == 32)

/* Inputs first..last-1, R vectors of columns: W_i += Σ_s x_s[i] u_s for the samples before, if
 * `update`, then Z_t += x_t[i] W_i for the next, if `multiply`. */
INLINE void NAME(rows_pass)(REAL *W, ptrdiff_t ld, ptrdiff_t first, ptrdiff_t last, const NAME(turn) * turn,
                            ptrdiff_t column, const int R, const int update, const int multiply) {
    const ptrdiff_t ld_z = turn->ld_z;
    const REAL *U = turn->U + column, *x[BLOCK], *y[BLOCK];
    REAL *Z = turn->Z + column;
    VEC u[BLOCK][2], z[BLOCK][2];
#pragma GCC unroll 4
    for (int s = 0; s < BLOCK; s++) {
        if (update) x[s] = turn->before[s];
        if (multiply) y[s] = turn->next[s];
    }
#pragma GCC unroll 8
    for (int k = 0; k < BLOCK * R; k++) {
        if (update) u[k / R][k % R] = NAME(load)(U + k / R * ld_z + k % R * LANES);
        if (multiply) z[k / R][k % R] = NAME(load)(Z + k / R * ld_z + k % R * LANES);
    }
    W += first * ld + column;
    for (ptrdiff_t i = first; i < last; i++, W += ld) {
        VEC p[BLOCK], q[BLOCK];
#pragma GCC unroll 4
        for (int s = 0; s < BLOCK; s++) {
            if (update) p[s] = NAME(broadcast)(x[s][i]);
            if (multiply) q[s] = NAME(broadcast)(y[s][i]);
        }
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) {
            VEC w = NAME(load)(W + r * LANES);
            if (update) {
                w += p[0] * u[0][r];
                w += p[1] * u[1][r];
                w += p[2] * u[2][r];
                w += p[3] * u[3][r];
                NAME(store)(W + r * LANES, w);
            }
            if (multiply) z[0][r] += q[0] * w, z[1][r] += q[1] * w, z[2][r] += q[2] * w, z[3][r] += q[3] * w;
        }
    }
#pragma GCC unroll 8
    for (int k = 0; k < BLOCK * R; k++)
        if (multiply) NAME(store)(Z + k / R * ld_z + k % R * LANES, z[k / R][k % R]);
}

/* All columns; few enough inputs that their rows of W stay in the first-level cache where they are passed over twice. */
static void NAME(rows_tile)(const cmlp_op *op, REAL *W, ptrdiff_t first, ptrdiff_t last, const NAME(turn) * turn) {
#define PASSES(update, multiply)                                                                   \
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        for (; j + 2 * LANES <= turn->ld_z; j += 2 * LANES)                                        \
            NAME(rows_pass)(W, op->ld, first, last, turn, j, 2, update, multiply);                 \
        if (j < turn->ld_z) NAME(rows_pass)(W, op->ld, first, last, turn, j, 1, update, multiply); \
    }
    if (ROWS_IN_ONE_PASS && turn->before && turn->next) {
        PASSES(1, 1)
        return;
    }
    if (turn->before) PASSES(1, 0)
    if (turn->next) PASSES(0, 1)
#undef PASSES
}

/* The Gram matrix in small parts between them, so that the next samples come from memory meanwhile. */
static void NAME(rows_turn)(const cmlp_op *op, REAL *W, const NAME(turn) * turn, REAL *G) {
    const ptrdiff_t n_in = op->n_in, bytes = op->ld * (ptrdiff_t)sizeof(REAL), at_once = 512 / sizeof(REAL);
    const ptrdiff_t tile = ROWS_IN_ONE_PASS ? n_in : bytes > 1024 ? 8 : 8192 / bytes;
    if (turn->next) memset(turn->Z, 0, (size_t)(BLOCK * turn->ld_z) * sizeof(REAL));
    for (ptrdiff_t first = 0, last; first < n_in; first = last) {
        last = n_in - first < at_once + at_once / 2 ? n_in : first + at_once;
        const REAL *x[BLOCK];
        for (int t = 0; turn->next && t < BLOCK; t++) x[t] = turn->next[t] + first;
        if (turn->next) NAME(gram)(last - first, x, G);
        for (ptrdiff_t i = first; i < last; i += tile)
            NAME(rows_tile)(op, W, i, last - i < tile ? last : i + tile, turn);
    }
}

/* W by columns: how many units at once, such that what a loop sums or scales for a block of samples stays in registers,
 * with x and w beside it, and the Gram matrix beside the first units' products. */
#if N_REGISTERS == 32
#define UNITS_WITH_GRAM 5
#define UNITS_MULTIPLIED 5
#define UNITS_UPDATED 5
#else
#define UNITS_WITH_GRAM 2
#define UNITS_MULTIPLIED 3
#define UNITS_UPDATED 3
#endif

/* n inputs (whole vectors) that fit the first-level cache together with the samples: Zᵀ (n_out, BLOCK) += W x for J
 * units; with_gram: G as well, from the same loads of x, which come from further away than W. */
INLINE void NAME(columns_products)(const REAL *W, ptrdiff_t ld, ptrdiff_t n, const REAL *const *x, REAL *Zt, REAL *G,
                                   const int J, const int with_gram) {
    const REAL *const x0 = x[0], *const x1 = x[1], *const x2 = x[2], *const x3 = x[3];
    VEC sum[UNITS_MULTIPLIED][BLOCK], gram[8] = {{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}};
#pragma GCC unroll 20
    for (int k = 0; k < J * BLOCK; k++) sum[k / BLOCK][k % BLOCK] = (VEC){0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const VEC v0 = NAME(load)(x0 + i), v1 = NAME(load)(x1 + i), v2 = NAME(load)(x2 + i), v3 = NAME(load)(x3 + i);
        if (with_gram) {
            gram[0] += v1 * v0, gram[1] += v2 * v0, gram[2] += v2 * v1;
            gram[3] += v3 * v0, gram[4] += v3 * v1, gram[5] += v3 * v2;
            __builtin_prefetch(x0 + i + PREFETCH);
            __builtin_prefetch(x1 + i + PREFETCH);
            __builtin_prefetch(x2 + i + PREFETCH);
            __builtin_prefetch(x3 + i + PREFETCH);
        }
#pragma GCC unroll 5
        for (int j = 0; j < J; j++) {
            const VEC w = NAME(load)(W + j * ld + i);
            sum[j][0] += w * v0, sum[j][1] += w * v1, sum[j][2] += w * v2, sum[j][3] += w * v3;
        }
    }
#pragma GCC unroll 5
    for (int j = 0; j < J; j++) NAME(store_four_sums)(Zt + j * BLOCK, sum[j], 1);
    if (with_gram) {
        NAME(store_four_sums)(G, gram, 1);
        NAME(store_four_sums)(G + 4, gram + 4, 1);
    }
}

/* The same for the updates of J units: W_j += Σ_s u_s[j] x_s. */
INLINE void NAME(columns_update)(REAL *W, ptrdiff_t ld, ptrdiff_t n, const REAL *const *x, const REAL *U,
                                 ptrdiff_t ld_z, const int J) {
    const REAL *const x0 = x[0], *const x1 = x[1], *const x2 = x[2], *const x3 = x[3];
    VEC u[UNITS_UPDATED][BLOCK];
#pragma GCC unroll 20
    for (int k = 0; k < J * BLOCK; k++) u[k / BLOCK][k % BLOCK] = NAME(broadcast)(U[k % BLOCK * ld_z + k / BLOCK]);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const VEC v0 = NAME(load)(x0 + i), v1 = NAME(load)(x1 + i), v2 = NAME(load)(x2 + i), v3 = NAME(load)(x3 + i);
#pragma GCC unroll 5
        for (int j = 0; j < J; j++) {
            VEC w = NAME(load)(W + j * ld + i) + u[j][0] * v0;
            w += u[j][1] * v1;
            w += u[j][2] * v2;
            w += u[j][3] * v3;
            NAME(store)(W + j * ld + i, w);
        }
    }
}

/* A tile: n inputs (whole vectors) that fit the first-level cache together with the samples. */
static void NAME(columns_tile)(REAL *W, ptrdiff_t ld, ptrdiff_t n_out, ptrdiff_t n, const REAL *const *before,
                               const REAL *U, ptrdiff_t ld_z, const REAL *const *next, REAL *Zt, REAL *G) {
#define UPDATE(J) \
    case J: NAME(columns_update)(W + j * ld, ld, n, before, U + j, ld_z, J); break
    for (ptrdiff_t j = 0; before && j < n_out; j += UNITS_UPDATED)
        switch (n_out - j < UNITS_UPDATED ? n_out - j : UNITS_UPDATED) {
#if UNITS_UPDATED == 5
            UPDATE(5);
            UPDATE(4);
#endif
            UPDATE(3);
            UPDATE(2);
            UPDATE(1);
        }
#undef UPDATE
#define PRODUCTS(J, WITH_GRAM) \
    case J: NAME(columns_products)(W + j * ld, ld, n, next, Zt + j * BLOCK, G, J, WITH_GRAM); break
    ptrdiff_t j = 0;
    if (next) switch (n_out < UNITS_WITH_GRAM ? n_out : UNITS_WITH_GRAM) {
#if UNITS_WITH_GRAM == 5
            PRODUCTS(5, 1);
            PRODUCTS(4, 1);
            PRODUCTS(3, 1);
#endif
            PRODUCTS(2, 1);
            PRODUCTS(1, 1);
        }
    for (j = UNITS_WITH_GRAM; next && j < n_out; j += UNITS_MULTIPLIED)
        switch (n_out - j < UNITS_MULTIPLIED ? n_out - j : UNITS_MULTIPLIED) {
#if UNITS_MULTIPLIED == 5
            PRODUCTS(5, 0);
            PRODUCTS(4, 0);
#endif
            PRODUCTS(3, 0);
            PRODUCTS(2, 0);
            PRODUCTS(1, 0);
        }
#undef PRODUCTS
}

static void NAME(columns_turn)(const cmlp_op *op, REAL *W, const REAL *const *before, const REAL *U, ptrdiff_t ld_z,
                               const REAL *const *next, REAL *Z, REAL *G) {
    const ptrdiff_t tile = 1024 / sizeof(REAL), whole = op->n_in / LANES * LANES;
    REAL *Zt = G + 8; /* (n_out, BLOCK) */
    const REAL *b4[BLOCK], *n4[BLOCK];
    if (next) memset(Zt, 0, (size_t)(op->n_out * BLOCK) * sizeof(REAL));
    for (ptrdiff_t i = 0, n; i < whole; i += n) {
        n = whole - i < tile + tile / 2 ? whole - i : tile;
        for (int t = 0; t < BLOCK; t++) {
            if (before) b4[t] = before[t] + i;
            if (next) n4[t] = next[t] + i;
        }
        NAME(columns_tile)(W + i, op->ld, op->n_out, n, before ? b4 : NULL, U, ld_z, next ? n4 : NULL, Zt, G);
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
        for (REAL *w = W + whole; before && w < W + op->n_out * op->ld; w += op->ld) /* 0 even if U is not finite */
            NAME(store)(w, NAME(load_first)(w, op->n_in - whole));
    }
    for (ptrdiff_t j = 0; next && j < op->n_out; j++)
        for (int t = 0; t < BLOCK; t++) Z[t * ld_z + j] = Zt[j * BLOCK + t];
}

/* Makes the updates of the samples before, then products and Gram matrix of the next; x_before, x_next: BLOCK pointers to
 * samples each, or NULL. Returns whether the next may be finite: NaN and infinity times any number are not finite, so
 * that one in x_t shows in every element of z_t. (So does one in W or b, or a sum that overflows.) */
static int NAME(block_turn)(const cmlp_op *op, void *params, const void *const *x_before, const void *updates,
                            const void *const *x_next, void *products, void *gram) {
    REAL *W = (REAL *)params + op->weights, *b = op->biases < 0 ? NULL : (REAL *)params + op->biases;
    const REAL *const *before = (const REAL *const *)x_before, *const *next = (const REAL *const *)x_next, *U = updates;
    REAL *Z = products, *G = gram;
    const ptrdiff_t ld_z = PADDED(op->n_out);
    if (next)
        for (int k = 0; k < 8; k++) G[k] = b ? 1 : 0;
    if (op->layout == CMLP_COLUMNS) {
        NAME(columns_turn)(op, W, before, U, ld_z, next, Z, G);
    } else {
        const NAME(turn) turn = {before, next, U, Z, ld_z};
        NAME(rows_turn)(op, W, &turn, G);
    }
    for (ptrdiff_t j = 0; b && j < ld_z; j += LANES) {
        VEC b_j = NAME(load)(b + j);
        if (before) {
            for (int s = 0; s < BLOCK; s++) b_j += NAME(load)(U + s * ld_z + j);
            NAME(store)(b + j, b_j);
        }
        for (int t = 0; next && t < BLOCK; t++) NAME(store)(Z + t * ld_z + j, NAME(load)(Z + t * ld_z + j) + b_j);
    }
    int finite = 1;
    for (int t = 0; next && t < BLOCK; t++) finite &= isfinite(Z[t * ld_z]);
    return finite;
}

/* z and a of the block's sample t, from the products and the updates of samples 0..t-1. */
static void NAME(block_forward)(const cmlp_op *op, int t, const void *products, const void *gram, const void *updates,
                                void *activations) {
    const ptrdiff_t ld_z = PADDED(op->n_out);
    const REAL *Z = (const REAL *)products + t * ld_z, *G = (const REAL *)gram + t * (t - 1) / 2, *U = updates;
    REAL *z = (REAL *)activations + op->z;
    for (ptrdiff_t j = 0; j < op->n_out; j += LANES) {
        VEC z_j = NAME(load)(Z + j);
        for (int s = 0; s < t; s++) z_j += G[s] * NAME(load)(U + s * ld_z + j);
        NAME(store_first)(z + j, z_j, op->n_out - j);
    }
    NAME(activate_op)(op, z, activations);
}

/* updates[t] = scale · δ̃ of sample t; returns how many elements of δ were clipped. */
static ptrdiff_t NAME(block_backward)(const cmlp_op *op, int t, const cmlp_target *to, const void *activations,
                                      void *errors, void *scratch, void *updates) {
    const ptrdiff_t ld_z = PADDED(op->n_out);
    REAL *u = (REAL *)updates + t * ld_z, *e = errors;
    return NAME(error_term)(op, (const REAL *)activations + op->z, (const REAL *)activations + op->out, e + op->out,
                            e + op->z, (REAL)to->clip_delta, (REAL)to->scale, scratch, u);
}
#undef BLOCK
#undef UNITS_WITH_GRAM
#undef UNITS_MULTIPLIED
#undef UNITS_UPDATED
#undef PREFETCH
#undef ROWS_IN_ONE_PASS
