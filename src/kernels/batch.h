/* Operations on a batch of rows at once, by register-blocked matrix products. A value of the batch is a matrix: row r
 * of it lies `stride` elements behind row r - 1. */

/* Rows of C that a tile has at most: with two vectors of columns, its sums, two vectors of B and an element of A fit the
 * registers. */
#if N_REGISTERS == 32
#define TALL 8
#elif VECTOR_BYTES == 32
#define TALL 6
#else
#define TALL 4
#endif

/* What is multiplied: C (m, n) = or += bias + A (m, k) B (k, n). Element (i, p) of A is a[i * a_row + p * a_k]; rows of B
 * and of C lie b_row and c_row apart. The bias of C's element (i, j) is bias[i * bias_row + j], or with bias_row = 1
 * bias[i]; NULL: 0. With `relu`, C = max(it, 0). Whole vectors of B and C are read, whole or in part they are written. */
typedef struct {
    ptrdiff_t m, n, k;
    const REAL *a;
    ptrdiff_t a_row, a_k;
    const REAL *b;
    ptrdiff_t b_row;
    REAL *c;
    ptrdiff_t c_row;
    const REAL *bias;
    int bias_row, accumulate, relu;
    char *pack;
} NAME(factors);

/* The M x (R vectors, `wide` columns of which count) tile of C that stays in registers; a, b, c: those of the tile. */
INLINE void NAME(product_tile)(const NAME(factors) * f, ptrdiff_t wide, const int M, const int R) {
    const REAL *a = f->a, *b = f->b;
    const ptrdiff_t a_row = f->a_row, a_k = f->a_k, b_row = f->b_row;
    VEC sum[TALL][4];
#pragma GCC unroll 32
    for (int t = 0; t < M * R; t++) {
        VEC start = {0};
        if (f->bias) start = f->bias_row ? NAME(broadcast)(f->bias[t / R]) : NAME(load)(f->bias + t % R * LANES);
        sum[t / R][t % R] = f->accumulate ? start + NAME(load)(f->c + t / R * f->c_row + t % R * LANES) : start;
    }
    for (ptrdiff_t p = 0; p < f->k; p++, a += a_k, b += b_row) {
        VEC b_p[4];
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) b_p[r] = NAME(load)(b + r * LANES);
#pragma GCC unroll 32
        for (int t = 0; t < M * R; t++) sum[t / R][t % R] += a[t / R * a_row] * b_p[t % R];
    }
#pragma GCC unroll 32
    for (int t = 0; t < M * R; t++) {
        const VEC v = f->relu ? NAME(positive_part)(sum[t / R][t % R]) : sum[t / R][t % R];
        NAME(store_first)(f->c + t / R * f->c_row + t % R * LANES, v, wide - t % R * LANES);
    }
}

/* C's columns of a tile's width, from top to bottom. */
static void NAME(product_panel)(NAME(factors) f, ptrdiff_t wide) {
    const int R = wide > 2 * LANES ? 4 : wide > LANES ? 2 : 1;
    for (ptrdiff_t high; f.m > 0; f.m -= high) {
        high = f.m >= TALL ? TALL : f.m >= 4 ? 4 : f.m >= 2 ? 2 : 1;
        if (R == 4) high = f.m;
#define TILE(M, R) \
    case (M) * 8 + (R): NAME(product_tile)(&f, wide, M, R); break;
        switch (high * 8 + R) {
            TILE(TALL, 2)
            TILE(TALL, 1)
#if TALL > 4
            TILE(4, 2)
            TILE(4, 1)
#endif
            TILE(3, 4)
            TILE(2, 4)
            TILE(2, 2)
            TILE(2, 1)
            TILE(1, 4)
            TILE(1, 2)
            TILE(1, 1)
        }
#undef TILE
        f.a += high * f.a_row;
        f.c += high * f.c_row;
        if (f.bias) f.bias += high * f.bias_row;
    }
}

/* Few rows of C take four vectors of columns at a time, for as many sums as hide the latency; otherwise two. Where more
 * rows share them, they and CMLP_PACKED rows of B are copied together first: at a row length of a power of two they would
 * all compete for a few places in the caches. */
static void NAME(product)(NAME(factors) whole) {
    REAL *const pack = (REAL *)whole.pack;
    const ptrdiff_t most = whole.m < 4 ? 4 * LANES : 2 * LANES;
    for (ptrdiff_t j = 0, wide; j < whole.n; j += wide) {
        wide = whole.n - j < most ? whole.n - j : most;
        if (wide > 2 * LANES && wide < most) wide = 2 * LANES;
        NAME(factors) f = whole;
        f.c += j;
        for (ptrdiff_t first = 0; first < whole.k; first += f.k) {
            f.k = whole.k - first < CMLP_PACKED ? whole.k - first : CMLP_PACKED;
            f.a = whole.a + first * f.a_k;
            f.b = whole.b + first * whole.b_row + j;
            f.b_row = whole.b_row;
            f.bias = !whole.bias || first ? NULL : whole.bias + (whole.bias_row ? 0 : j);
            f.accumulate = whole.accumulate || first;
            f.relu = whole.relu && first + f.k == whole.k;
            if (wide == 2 * LANES && whole.m >= 16 && whole.k >= 64) {
                for (ptrdiff_t p = 0; p < f.k; p++) {
                    NAME(store)(pack + 2 * p * LANES, NAME(load)(f.b + p * f.b_row));
                    NAME(store)(pack + (2 * p + 1) * LANES, NAME(load)(f.b + p * f.b_row + LANES));
                }
                f.b = pack;
                f.b_row = 2 * LANES;
            }
            NAME(product_panel)(f, wide);
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

/* Where a dense operation's net inputs go: nowhere of their own, if only f reads them. */
INLINE ptrdiff_t NAME(place_of_z)(const cmlp_op *op) {
    return op->fused || NAME(reads_z)(op->activation) ? op->z : op->out;
}

/* Z = A W + b, then f row by row. */
static void NAME(rows_first_forward)(const cmlp_op *op, const void *params, const cmlp_rows *r) {
    REAL *buffer = (REAL *)r->activations, *z = buffer + NAME(place_of_z)(op), *out = buffer + op->out;
    const REAL *x = (const REAL *)r->x, *in = op->source < 0 ? x : buffer + op->source;
    const int relu = op->activation == CMLP_RELU && op->layout == CMLP_ROWS && z == out;
    const ptrdiff_t in_stride = op->source < 0 ? r->x_stride : r->stride;
    if (op->kind != CMLP_DENSE) {
        for (ptrdiff_t i = 0; i < r->n; i++) NAME(forward)(op, params, x + i * r->x_stride, buffer + i * r->stride);
        return;
    }
    const REAL *W = (const REAL *)params + op->weights;
    const REAL *b = op->biases < 0 ? NULL : (const REAL *)params + op->biases;
    if (op->layout == CMLP_ROWS)
        NAME(product)((NAME(factors)){.m = r->n,
                                      .n = op->n_out,
                                      .k = op->n_in,
                                      .a = in,
                                      .a_row = in_stride,
                                      .a_k = 1,
                                      .b = W,
                                      .b_row = op->ld,
                                      .c = z,
                                      .c_row = r->stride,
                                      .bias = b,
                                      .accumulate = op->accumulate,
                                      .relu = relu,
                                      .pack = r->pack});
    else
        NAME(dots)(r->n, op->n_out, op->n_in, in, in_stride, W, op->ld, b, z, r->stride, op->accumulate);
    if (relu || (op->activation == CMLP_IDENTITY && z == out)) return;
    for (ptrdiff_t i = 0; i < r->n; i++)
        NAME(activate)(op->activation, op->n_out, (REAL)op->alpha, z + i * r->stride, out + i * r->stride);
}

/* δ of every row and ∂ℓ/∂in; scale · δ̃, padded with zeros, into the deltas. scratch: two padded vectors as wide as the
 * widest layer. Returns how many elements of δ were clipped. */
static ptrdiff_t NAME(rows_first_errors)(const cmlp_op *op, const void *params, const cmlp_target *to,
                                         const cmlp_rows *r, void *scratch) {
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
            NAME(product)((NAME(factors)){.m = r->n,
                                          .n = op->n_in,
                                          .k = op->n_out,
                                          .a = d,
                                          .a_row = r->stride,
                                          .a_k = 1,
                                          .b = W,
                                          .b_row = op->ld,
                                          .c = da,
                                          .c_row = r->stride,
                                          .accumulate = add,
                                          .pack = r->pack});
    }
    return count;
}

/* g (width,) = or += the sum of the rows of deltas, in their order; as many vectors at a time as hide the latency. */
static void NAME(sum_rows)(ptrdiff_t n, ptrdiff_t width, const REAL *d, ptrdiff_t d_row, REAL *g, int accumulate) {
    ptrdiff_t j = 0;
    for (; j + 4 * LANES <= width; j += 4 * LANES) {
        VEC sum[4];
        for (int t = 0; t < 4; t++) sum[t] = accumulate ? NAME(load)(g + j + t * LANES) : (VEC){0};
        for (ptrdiff_t i = 0; i < n; i++)
            for (int t = 0; t < 4; t++) sum[t] += NAME(load)(d + i * d_row + j + t * LANES);
        for (int t = 0; t < 4; t++) NAME(store)(g + j + t * LANES, sum[t]);
    }
    for (; j < width; j += LANES) {
        VEC sum = accumulate ? NAME(load)(g + j) : (VEC){0};
        for (ptrdiff_t i = 0; i < n; i++) sum += NAME(load)(d + i * d_row + j);
        NAME(store)(g + j, sum);
    }
}

/* Inputs from..to-1 of a layer: gradient = or += inᵀ · deltas, summed in the order of the rows; with input 0, the biases
 * too. */
static void NAME(rows_first_gradient)(const cmlp_op *op, void *gradient, const cmlp_rows *r, ptrdiff_t from,
                                      ptrdiff_t to, int accumulate) {
    const REAL *in = (op->source < 0 ? (const REAL *)r->x : (const REAL *)r->activations + op->source) + from;
    const REAL *d = (const REAL *)r->deltas + op->delta;
    const ptrdiff_t in_stride = op->source < 0 ? r->x_stride : r->stride, width = PADDED(op->n_out);
    REAL *G = (REAL *)gradient + op->weights;
    if (op->layout == CMLP_ROWS)
        NAME(product)((NAME(factors)){.m = to - from,
                                      .n = width,
                                      .k = r->n,
                                      .a = in,
                                      .a_row = 1,
                                      .a_k = in_stride,
                                      .b = d,
                                      .b_row = r->deltas_stride,
                                      .c = G + from * op->ld,
                                      .c_row = op->ld,
                                      .accumulate = accumulate,
                                      .pack = r->pack});
    else
        NAME(product)((NAME(factors)){.m = op->n_out,
                                      .n = to - from,
                                      .k = r->n,
                                      .a = d,
                                      .a_row = 1,
                                      .a_k = r->deltas_stride,
                                      .b = in,
                                      .b_row = in_stride,
                                      .c = G + from,
                                      .c_row = op->ld,
                                      .accumulate = accumulate,
                                      .pack = r->pack});
    if (op->biases >= 0 && from == 0)
        NAME(sum_rows)(r->n, width, d, r->deltas_stride, (REAL *)gradient + op->biases, accumulate);
}
