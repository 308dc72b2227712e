/* Operations on a batch of rows at once, by register-blocked matrix products. A value of the batch is a matrix: row r
 * of it lies `stride` elements behind row r - 1. */

/* C (4 or 1 rows, R vectors of columns) = start + A B over k: the tile of C stays in registers. Element (m, p) of A is
 * a[m * a_row + p * a_k], row p of B starts at b + p * b_k. `valid` columns are read of B and written to C. */
INLINE void NAME(product_tile)(ptrdiff_t k, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_k, const REAL *b, ptrdiff_t b_k,
                               const REAL *bias, REAL *c, ptrdiff_t c_row, ptrdiff_t valid, int accumulate, const int M,
                               const int R, const int partial) {
    VEC sum[4][2];
#pragma GCC unroll 8
    for (int t = 0; t < M * R; t++) {
        VEC start = bias ? NAME(load)(bias + t % R * LANES) : (VEC){0};
        sum[t / R][t % R] = accumulate ? start + NAME(load)(c + t / R * c_row + t % R * LANES) : start;
    }
    for (ptrdiff_t p = 0; p < k; p++, a += a_k, b += b_k) {
        VEC b_p[2];
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) b_p[r] = partial ? NAME(load_first)(b, valid) : NAME(load)(b + r * LANES);
#pragma GCC unroll 8
        for (int t = 0; t < M * R; t++) sum[t / R][t % R] += a[t / R * a_row] * b_p[t % R];
    }
#pragma GCC unroll 8
    for (int t = 0; t < M * R; t++) {
        REAL *c_t = c + t / R * c_row + t % R * LANES;
        if (partial)
            NAME(store_first)(c_t, sum[t / R][t % R], valid);
        else
            NAME(store)(c_t, sum[t / R][t % R]);
    }
}

/* C (m, n) = or += bias + A (m, k) B (k, n), vectors along the columns of B and C. Two vectors of columns and PACKED rows
 * of B at a time are copied together first: at a row length of a power of two they would all compete for a few places in
 * the caches. */
static void NAME(product)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_k,
                          const REAL *b, ptrdiff_t b_k, const REAL *bias, REAL *c, ptrdiff_t c_row, int accumulate) {
    enum { PACKED = 256 };
    VEC pack[2 * PACKED];
    for (ptrdiff_t j = 0, wide; j < n; j += wide) {
        wide = n - j >= 2 * LANES ? 2 * LANES : n - j >= LANES ? LANES : n - j;
        for (ptrdiff_t first = 0, deep; first < k; first += deep) {
            deep = k - first < PACKED ? k - first : PACKED;
            const REAL *b_j = b + first * b_k + j, *bias_j = bias && !first ? bias + j : NULL;
            ptrdiff_t b_step = b_k;
            const int add = accumulate || first;
            if (wide == 2 * LANES && m >= 16) {
                for (ptrdiff_t p = 0; p < deep; p++) {
                    pack[2 * p] = NAME(load)(b_j + p * b_k);
                    pack[2 * p + 1] = NAME(load)(b_j + p * b_k + LANES);
                }
                b_j = (const REAL *)pack;
                b_step = 2 * LANES;
            }
            for (ptrdiff_t i = 0, high; i < m; i += high) {
                const REAL *a_i = a + i * a_row + first * a_k;
                REAL *c_ij = c + i * c_row + j;
                high = m - i >= 4 ? 4 : 1;
#define TILE(M, R, partial) \
    NAME(product_tile)(deep, a_i, a_row, a_k, b_j, b_step, bias_j, c_ij, c_row, wide, add, M, R, partial)
                if (wide == 2 * LANES && high == 4)
                    TILE(4, 2, 0);
                else if (wide == 2 * LANES)
                    TILE(1, 2, 0);
                else if (wide == LANES && high == 4)
                    TILE(4, 1, 0);
                else if (wide == LANES)
                    TILE(1, 1, 0);
                else if (high == 4)
                    TILE(4, 1, 1);
                else
                    TILE(1, 1, 1);
#undef TILE
            }
        }
    }
}

/* C (M rows, J columns) = or += bias + A Bᵀ over k: dot products of rows, which share their loads. B's rows end in
 * zeros up to a whole vector; A's need not. */
INLINE void NAME(dots_tile)(ptrdiff_t k, const REAL *a, ptrdiff_t a_row, const REAL *b, ptrdiff_t b_row,
                            const REAL *bias, REAL *c, ptrdiff_t c_row, int accumulate, const int M, const int J) {
    VEC sum[3][4];
#pragma GCC unroll 12
    for (int t = 0; t < M * J; t++) sum[t / J][t % J] = (VEC){0};
    for (ptrdiff_t p = 0; p < k; p += LANES) {
        VEC a_p[3], b_p;
#pragma GCC unroll 3
        for (int i = 0; i < M; i++) a_p[i] = NAME(load_first)(a + i * a_row + p, k - p);
#pragma GCC unroll 4
        for (int j = 0; j < J; j++) {
            b_p = NAME(load)(b + j * b_row + p);
#pragma GCC unroll 3
            for (int i = 0; i < M; i++) sum[i][j] += a_p[i] * b_p;
        }
    }
#pragma GCC unroll 3
    for (int i = 0; i < M; i++) {
        REAL *c_i = c + i * c_row;
        if (J == 4 && !bias) {
            NAME(store_four_sums)(c_i, sum[i], accumulate);
            continue;
        }
        for (int j = 0; j < J; j++) {
            const REAL dot = NAME(sum)(sum[i][j]) + (bias ? bias[j] : 0);
            c_i[j] = accumulate ? c_i[j] + dot : dot;
        }
    }
}

/* C (m, n) = or += bias + A (m, k) Bᵀ, B (n, k). */
static void NAME(dots)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *a, ptrdiff_t a_row, const REAL *b,
                       ptrdiff_t b_row, const REAL *bias, REAL *c, ptrdiff_t c_row, int accumulate) {
    for (ptrdiff_t j = 0, wide; j < n; j += wide) {
        wide = n - j >= 4 ? 4 : 1;
        const REAL *b_j = b + j * b_row, *bias_j = bias ? bias + j : NULL;
        for (ptrdiff_t i = 0, high; i < m; i += high) {
            high = m - i == 4 ? 2 : m - i >= 3 ? 3 : m - i;
            const REAL *a_i = a + i * a_row;
            REAL *c_ij = c + i * c_row + j;
#define TILE(M, J) NAME(dots_tile)(k, a_i, a_row, b_j, b_row, bias_j, c_ij, c_row, accumulate, M, J)
            if (high == 3 && wide == 4)
                TILE(3, 4);
            else if (high == 2 && wide == 4)
                TILE(2, 4);
            else if (wide == 4)
                TILE(1, 4);
            else if (high == 3)
                TILE(3, 1);
            else if (high == 2)
                TILE(2, 1);
            else
                TILE(1, 1);
#undef TILE
        }
    }
}

/* Z = A W + b, then f row by row. */
static void NAME(batch_forward)(const cmlp_op *op, const void *params, const cmlp_rows *r) {
    REAL *buffer = (REAL *)r->activations, *z = buffer + op->z, *out = buffer + op->out;
    const REAL *x = (const REAL *)r->x, *in = op->source < 0 ? x : buffer + op->source;
    const ptrdiff_t in_stride = op->source < 0 ? r->x_stride : r->stride;
    if (op->kind != CMLP_DENSE) {
        for (ptrdiff_t i = 0; i < r->n; i++) NAME(forward)(op, params, x + i * r->x_stride, buffer + i * r->stride);
        return;
    }
    const REAL *W = (const REAL *)params + op->weights;
    const REAL *b = op->biases < 0 ? NULL : (const REAL *)params + op->biases;
    if (op->layout == CMLP_ROWS)
        NAME(product)(r->n, op->n_out, op->n_in, in, in_stride, 1, W, op->ld, b, z, r->stride, op->accumulate);
    else
        NAME(dots)(r->n, op->n_out, op->n_in, in, in_stride, W, op->ld, b, z, r->stride, op->accumulate);
    if (op->activation == CMLP_IDENTITY && op->z == op->out) return;
    for (ptrdiff_t i = 0; i < r->n; i++)
        NAME(activate)(op->activation, op->n_out, (REAL)op->alpha, z + i * r->stride, out + i * r->stride);
}

/* δ of every row and ∂ℓ/∂in; scale · δ̃, padded with zeros, into the deltas. scratch: two padded vectors as wide as the
 * widest layer. Returns how many elements of δ were clipped. */
static ptrdiff_t NAME(batch_errors)(const cmlp_op *op, const void *params, const cmlp_target *to, const cmlp_rows *r,
                                    void *scratch) {
    const REAL *a = (const REAL *)r->activations;
    REAL *error = (REAL *)r->errors, *d = error + op->z, *u = (REAL *)r->deltas + op->delta;
    ptrdiff_t count = 0;
    if (op->kind != CMLP_DENSE) {
        for (ptrdiff_t i = 0; i < r->n; i++)
            NAME(backward)(op, params, to, NULL, a + i * r->stride, error + i * r->stride, scratch);
        return 0;
    }
    for (ptrdiff_t i = 0; i < r->n; i++) {
        const ptrdiff_t at = i * r->stride;
        count += NAME(error_term)(op, a + at + op->z, a + at + op->out, error + at + op->out, d + at,
                                  (REAL)to->clip_delta, (REAL)to->scale, scratch, u + i * r->deltas_stride);
    }
    if (op->input_gradient != CMLP_NOT_WANTED) {
        const REAL *W = (const REAL *)params + op->weights;
        REAL *da = error + op->source;
        const int add = op->input_gradient == CMLP_ACCUMULATE;
        if (op->layout == CMLP_ROWS)
            NAME(dots)(r->n, op->n_in, op->n_out, d, r->stride, W, op->ld, NULL, da, r->stride, add);
        else
            NAME(product)(r->n, op->n_in, op->n_out, d, r->stride, 1, W, op->ld, NULL, da, r->stride, add);
    }
    return count;
}

/* Inputs from..to-1 of a layer: gradient = or += inᵀ · deltas, summed in the order of the rows; with input 0, the biases
 * too. */
static void NAME(batch_gradient)(const cmlp_op *op, void *gradient, const cmlp_rows *r, ptrdiff_t from, ptrdiff_t to,
                                 int accumulate) {
    const REAL *in = op->source < 0 ? (const REAL *)r->x : (const REAL *)r->activations + op->source;
    const REAL *d = (const REAL *)r->deltas + op->delta;
    const ptrdiff_t in_stride = op->source < 0 ? r->x_stride : r->stride, width = PADDED(op->n_out);
    REAL *G = (REAL *)gradient + op->weights;
    if (op->layout == CMLP_ROWS)
        NAME(product)(to - from, width, r->n, in + from, 1, in_stride, d, r->deltas_stride, NULL, G + from * op->ld,
                      op->ld, accumulate);
    else
        NAME(product)(op->n_out, to - from, r->n, d, 1, r->deltas_stride, in + from, in_stride, NULL, G + from, op->ld,
                      accumulate);
    if (op->biases < 0 || from > 0) return;
    REAL *g = (REAL *)gradient + op->biases;
    if (!accumulate) memset(g, 0, (size_t)width * sizeof(REAL));
    for (ptrdiff_t i = 0; i < r->n; i++)
        for (ptrdiff_t j = 0; j < width; j += LANES)
            NAME(store)(g + j, NAME(load)(g + j) + NAME(load)(d + i * r->deltas_stride + j));
}
