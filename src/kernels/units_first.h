/* Batches of narrow layers: the values of unit u lie side by side for all rows, u · stride elements behind those of unit
 * 0, so that vectors run along the batch. No layer is too narrow to fill them, no sum is horizontal but those of the
 * gradient, and f works on whole vectors. Behind the rows, up to a whole vector, activations and deltas are 0. */

/* a and b interleaved: the first half of the 2 LANES elements a₀ b₀ a₁ b₁ …, or the second. */
INLINE VEC NAME(interleaved)(VEC a, VEC b, const int second) {
#if VECTOR_BYTES == 16 && DOUBLE_PRECISION
#define PAIRS(k) k, 2 + k
#elif VECTOR_BYTES / (DOUBLE_PRECISION ? 8 : 4) == 4
#define PAIRS(k) 2 * k, 4 + 2 * k, 1 + 2 * k, 5 + 2 * k
#elif VECTOR_BYTES / (DOUBLE_PRECISION ? 8 : 4) == 8
#define PAIRS(k) 4 * k, 8 + 4 * k, 1 + 4 * k, 9 + 4 * k, 2 + 4 * k, 10 + 4 * k, 3 + 4 * k, 11 + 4 * k
#else
#define PAIRS(k)                                                                                                   \
    8 * k, 16 + 8 * k, 1 + 8 * k, 17 + 8 * k, 2 + 8 * k, 18 + 8 * k, 3 + 8 * k, 19 + 8 * k, 4 + 8 * k, 20 + 8 * k, \
        5 + 8 * k, 21 + 8 * k, 6 + 8 * k, 22 + 8 * k, 7 + 8 * k, 23 + 8 * k
#endif
    return second ? __builtin_shufflevector(a, b, PAIRS(1)) : __builtin_shufflevector(a, b, PAIRS(0));
#undef PAIRS
}

/* A square of LANES vectors becomes its transpose: interleaving rows i and i + LANES / 2 moves the highest bit of the
 * row's number into the column's, so that log₂ LANES times exchange both numbers. */
INLINE void NAME(transpose)(VEC square[LANES]) {
    VEC next[LANES];
#pragma GCC unroll 4
    for (ptrdiff_t done = 1; done < LANES; done *= 2) {
#pragma GCC unroll 8
        for (ptrdiff_t i = 0; i < LANES / 2; i++) {
            next[2 * i] = NAME(interleaved)(square[i], square[i + LANES / 2], 0);
            next[2 * i + 1] = NAME(interleaved)(square[i], square[i + LANES / 2], 1);
        }
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < LANES; i++) square[i] = next[i];
    }
}

/* x from the rows of X at `rows`, n_inputs elements each; X ends at `end`. */
static void NAME(units_first_inputs)(const cmlp_rows *r, ptrdiff_t n_inputs, const void *const *rows, const void *end) {
    for (ptrdiff_t c = 0; c < r->n; c += LANES) {
        REAL *x = (REAL *)r->x + c;
        for (ptrdiff_t i = 0; i < n_inputs; i += LANES) {
            VEC square[LANES];
#pragma GCC unroll 16
            for (ptrdiff_t q = 0; q < LANES; q++) {
                const REAL *from = c + q < r->n ? (const REAL *)rows[c + q] + i : NULL;
                if (!from)
                    square[q] = (VEC){0};
                else if (from + LANES <= (const REAL *)end)
                    square[q] = NAME(load)(from);
                else
                    square[q] = NAME(load_exactly)(from, n_inputs - i);
            }
            NAME(transpose)(square);
            for (ptrdiff_t q = 0; q < LANES && i + q < n_inputs; q++) NAME(store)(x + (i + q) * r->stride, square[q]);
        }
    }
}

/* y (LANES,) = y_i of the rows from c on, 0 behind the last. */
INLINE void NAME(targets_of)(const cmlp_targets *t, ptrdiff_t c, ptrdiff_t n, ptrdiff_t i, REAL *y) {
    for (ptrdiff_t q = 0; q < LANES; q++)
        y[q] = c + q >= n ? 0 : t->y ? ((const REAL *)t->y[c + q])[i] : (REAL)(t->labels[c + q] == i);
}

/* The cross-entropy of LANES rows' softmax from c on, as NAME(softmax_loss) has it for one. */
static void NAME(units_first_softmax_losses)(const cmlp_net *net, const cmlp_rows *r, ptrdiff_t c, const REAL *z,
                                             const REAL *a, const cmlp_targets *t, const REAL *weight, REAL *error,
                                             double *loss) {
    REAL y[LANES];
    VEC total = NAME(broadcast)(t->y ? 0 : 1);
    for (ptrdiff_t i = 0; t->y && i < net->n_outputs; i++) {
        NAME(targets_of)(t, c, r->n, i, y);
        total += NAME(load)(y);
    }
    if (t->y) total = (REAL)(1 - net->loss_parameter) * total + (REAL)net->loss_parameter;
    for (ptrdiff_t i = 0, at = 0; i < net->n_outputs; i++, at += r->stride) {
        NAME(targets_of)(t, c, r->n, i, y);
        for (ptrdiff_t q = 0; q < LANES; q++) y[q] = NAME(smoothed)(net, y[q]);
        NAME(store)(error + at, NAME(all_flushed)(NAME(load)(weight) * (NAME(load)(a + at) * total - NAME(load)(y))));
        for (ptrdiff_t q = 0; q < LANES && c + q < r->n; q++)
            if (y[q] != 0) loss[q] -= (double)y[q] * NAME(log_of_softmax)(net->n_outputs, r->stride, z + q, a + q, i);
    }
}

/* ℓ of every row, and s_c ∂ℓ/∂ŷ (or δ) in the error buffer; z: of the output. */
static void NAME(units_first_losses)(const cmlp_net *net, const cmlp_rows *r, ptrdiff_t z, const cmlp_targets *t,
                                     double *losses) {
    for (ptrdiff_t c = 0; c < r->n; c += LANES) {
        const REAL *z_c = (const REAL *)(z < 0 ? r->x : r->activations) + (z < 0 ? 0 : z * r->stride) + c;
        const REAL *a_c = (const REAL *)r->activations + net->output * r->stride + c;
        REAL *error = (REAL *)r->errors + net->output * r->stride + c;
        double loss[LANES] = {0};
        REAL y[LANES], slope[LANES], weight[LANES];
        for (ptrdiff_t q = 0; q < LANES; q++) weight[q] = c + q < r->n ? (REAL)t->weights[c + q] : 0;
        if (net->loss == CMLP_CROSS_ENTROPY && net->fused)
            NAME(units_first_softmax_losses)(net, r, c, z_c, a_c, t, weight, error, loss);
        else
            for (ptrdiff_t i = 0; i < net->n_outputs; i++, z_c += r->stride, a_c += r->stride, error += r->stride) {
                NAME(targets_of)(t, c, r->n, i, y);
#define LOOP(ID, name)                                                                                     \
    case CMLP_##ID:                                                                                        \
        for (ptrdiff_t q = 0; q < LANES; q++) loss[q] += NAME(name)(net, z_c[q], a_c[q], y[q], slope + q); \
        break;
                switch (net->loss) { CMLP_LOSSES(LOOP) }
#undef LOOP
                NAME(store)(error, NAME(all_flushed)(NAME(load)(weight) * NAME(load)(slope)));
            }
        for (ptrdiff_t q = 0; q < LANES && c + q < r->n; q++) losses[c + q] = loss[q];
    }
}

/* out (n, n_out), without padding, = ŷ. */
static void NAME(units_first_outputs)(const cmlp_rows *r, ptrdiff_t n_outputs, ptrdiff_t output, void *out) {
    const REAL *a = (const REAL *)r->activations + output * r->stride;
    REAL *to = out;
    for (ptrdiff_t c = 0; c < r->n; c++)
        for (ptrdiff_t j = 0; j < n_outputs; j++) *to++ = a[j * r->stride + c];
}

/* a_j = e^{z_j - m} / Σ_i e^{z_i - m} over the units, m their maximum, for n rows. */
static void NAME(units_first_softmax)(ptrdiff_t n, ptrdiff_t n_out, ptrdiff_t stride, const REAL *z, REAL *a) {
    for (ptrdiff_t c = 0; c < n; c += LANES, z += LANES, a += LANES) {
        VEC max = NAME(load)(z), sum = {0};
        for (ptrdiff_t j = 1; j < n_out; j++) {
            const VEC z_j = NAME(load)(z + j * stride);
            max = NAME(select)(z_j > max, z_j, max);
        }
        for (ptrdiff_t j = 0; j < n_out; j++) {
            const VEC e = NAME(f_softmax)(NAME(load)(z + j * stride) - max, 0);
            sum += e;
            NAME(store)(a + j * stride, e);
        }
        for (ptrdiff_t j = 0; j < n_out; j++) NAME(store)(a + j * stride, NAME(load)(a + j * stride) / sum);
    }
}

/* out = f(z) for every unit, 0 behind the rows; a relu that is in its place already stays as it is. */
static void NAME(units_first_activate)(const cmlp_op *op, const cmlp_rows *r, const REAL *z, REAL *out) {
    const ptrdiff_t width = PADDED(r->n);
    if (op->activation == CMLP_SOFTMAX)
        NAME(units_first_softmax)(r->n, op->n_out, r->stride, z, out);
    else if (op->activation != CMLP_RELU || z != out)
        for (ptrdiff_t j = 0; j < op->n_out; j++)
            NAME(activate)(op->activation, width, (REAL)op->alpha, z + j * r->stride, out + j * r->stride);
    for (ptrdiff_t j = 0; r->n < width && j < op->n_out; j++) {
        REAL *last = out + j * r->stride + width - LANES;
        NAME(store)(last, NAME(load_first)(last, r->n - (width - LANES)));
    }
}

static void NAME(units_first_forward)(const cmlp_op *op, const void *params, const cmlp_rows *r) {
    REAL *buffer = (REAL *)r->activations, *out = buffer + op->out * r->stride;
    REAL *z = buffer + NAME(place_of_z)(op) * r->stride;
    const REAL *in = op->source < 0 ? (const REAL *)r->x : buffer + op->source * r->stride, *p = params;
    const ptrdiff_t width = PADDED(r->n);
    const int by_rows = op->layout == CMLP_ROWS;
    if (op->kind == CMLP_ADD) {
        for (ptrdiff_t j = 0; j < op->n_out; j++, in += r->stride, out += r->stride)
            for (ptrdiff_t c = 0; c < width; c++) out[c] = op->accumulate ? out[c] + in[c] : in[c];
        return;
    }
    if (op->kind == CMLP_DENSE)
        NAME(product)((NAME(factors)){.m = op->n_out,
                                      .n = width,
                                      .k = op->n_in,
                                      .a = p + op->weights,
                                      .a_row = by_rows ? 1 : op->ld,
                                      .a_k = by_rows ? op->ld : 1,
                                      .b = in,
                                      .b_row = r->stride,
                                      .c = z,
                                      .c_row = r->stride,
                                      .bias = op->biases < 0 ? NULL : p + op->biases,
                                      .bias_row = 1,
                                      .accumulate = op->accumulate,
                                      .relu = op->activation == CMLP_RELU && z == out,
                                      .pack = r->pack});
    NAME(units_first_activate)(op, r, op->kind == CMLP_DENSE ? z : in, out);
}

/* δ = J_fᵀ ∂ℓ/∂a takes the place of ∂ℓ/∂a for units from..to-1, 0 behind the rows. */
static void NAME(units_first_deltas)(const cmlp_op *op, const cmlp_rows *r, const REAL *z, const REAL *a, REAL *d,
                                     ptrdiff_t from, ptrdiff_t to) {
    const ptrdiff_t left = r->n % LANES;
    const REAL alpha = (REAL)op->alpha;
    from *= r->stride, to *= r->stride;
#define LOOP(ID, name)                                                                                                 \
    case CMLP_##ID:                                                                                                    \
        for (ptrdiff_t j = from; j < to; j += r->stride)                                                               \
            for (ptrdiff_t c = j; c < j + r->n; c += LANES)                                                            \
                NAME(store)(d + c, NAME(d_##name)(NAME(load)(z + c), NAME(load)(a + c), NAME(load)(d + c), alpha, 0)); \
        break;
    switch (op->fused ? CMLP_IDENTITY : op->activation) { CMLP_ACTIVATIONS(LOOP) }
#undef LOOP
    for (ptrdiff_t c = from + r->n - left; left && c < to; c += r->stride)
        NAME(store)(d + c, NAME(load_first)(d + c, left));
}

/* ∂ℓ/∂a - a · ∂ℓ/∂a, for softmax, takes the place of ∂ℓ/∂a. */
static void NAME(units_first_less_dot)(ptrdiff_t n, ptrdiff_t end, ptrdiff_t stride, const REAL *a, REAL *da) {
    for (ptrdiff_t c = 0; c < n; c += LANES) {
        VEC dot = {0};
        for (ptrdiff_t j = c; j < end; j += stride) dot += NAME(load)(a + j) * NAME(load)(da + j);
        for (ptrdiff_t j = c; j < end; j += stride) NAME(store)(da + j, NAME(load)(da + j) - dot);
    }
}

/* Whether a layer's deltas are stored row by row, padded with zeros: its gradient is summed with vectors along its units
 * then, if they fill at least half of one. */
INLINE int NAME(has_rows_of_deltas)(const cmlp_op *op) { return op->layout == CMLP_ROWS && 2 * op->n_out >= LANES; }

/* scale · δ̃ of one vector; adds how many elements were clipped. */
INLINE VEC NAME(clipped)(VEC d, REAL psi, REAL scale, ptrdiff_t *count) {
    if (psi < INFINITY) {
        const IVEC above = d > psi, below = d < -psi; /* false for NaN, which stays */
        *count += __builtin_popcountll(NAME(bits)(above | below));
        d = NAME(select)(above, NAME(broadcast)(psi), NAME(select)(below, NAME(broadcast)(-psi), d));
    }
    return scale * d;
}

/* scale · δ̃ of units from..from+LANES-1 into the layer's deltas. Returns how many elements of δ were clipped. */
static ptrdiff_t NAME(units_first_clipped)(const cmlp_op *op, const cmlp_target *to, const cmlp_rows *r, const REAL *d,
                                           ptrdiff_t from) {
    const REAL psi = (REAL)to->clip_delta, scale = (REAL)to->scale;
    const ptrdiff_t stride = r->stride, width = PADDED(op->n_out);
    const ptrdiff_t high = op->n_out - from < LANES ? op->n_out - from : LANES;
    REAL *u = (REAL *)r->deltas + op->delta * stride;
    ptrdiff_t count = 0;
    d += from * stride;
    if (!NAME(has_rows_of_deltas)(op)) {
        u += from * stride + r->first;
        for (ptrdiff_t j = 0; j < high * stride; j += stride)
            for (ptrdiff_t c = j; c < j + r->n; c += LANES)
                NAME(store)(u + c, NAME(clipped)(NAME(load)(d + c), psi, scale, &count));
        return count;
    }
    u += r->first * width + from;
    for (ptrdiff_t c = 0; c < r->n; c += LANES) {
        VEC square[LANES];
#pragma GCC unroll 16
        for (ptrdiff_t q = 0; q < LANES; q++)
            square[q] = q < high ? NAME(clipped)(NAME(load)(d + q * stride + c), psi, scale, &count) : (VEC){0};
        NAME(transpose)(square);
#pragma GCC unroll 16
        for (ptrdiff_t q = 0; q < LANES; q++) NAME(store)(u + (c + q) * width, square[q]);
    }
    return count;
}

/* As rows_first_errors, but that δ takes the place of ∂ℓ/∂a, which nothing reads again. */
static ptrdiff_t NAME(units_first_errors)(const cmlp_op *op, const void *params, const cmlp_target *to,
                                          const cmlp_rows *r) {
    if (op->kind != CMLP_DENSE && op->input_gradient == CMLP_NOT_WANTED) return 0; /* its z is x, no slice */
    const ptrdiff_t stride = r->stride, width = PADDED(r->n);
    const REAL *buffer = (const REAL *)r->activations, *z = buffer + op->z * stride, *a = buffer + op->out * stride;
    REAL *error = (REAL *)r->errors, *d = error + op->out * stride, *in = error + op->source * stride;
    const int by_rows = op->layout == CMLP_ROWS, add = op->input_gradient == CMLP_ACCUMULATE;
    ptrdiff_t count = 0;
    if (op->activation == CMLP_SOFTMAX && !op->fused)
        NAME(units_first_less_dot)(r->n, op->n_out * stride, stride, a, d);
    for (ptrdiff_t j = 0; j < op->n_out; j += LANES) {
        NAME(units_first_deltas)(op, r, z, a, d, j, j + LANES < op->n_out ? j + LANES : op->n_out);
        if (op->kind == CMLP_DENSE) count += NAME(units_first_clipped)(op, to, r, d, j);
    }
    if (op->input_gradient == CMLP_NOT_WANTED) return count;
    if (op->kind == CMLP_DENSE)
        NAME(product)((NAME(factors)){.m = op->n_in,
                                      .n = width,
                                      .k = op->n_out,
                                      .a = (const REAL *)params + op->weights,
                                      .a_row = by_rows ? op->ld : 1,
                                      .a_k = by_rows ? 1 : op->ld,
                                      .b = d,
                                      .b_row = stride,
                                      .c = in,
                                      .c_row = stride,
                                      .accumulate = add,
                                      .pack = r->pack});
    else
        for (ptrdiff_t j = 0; j < op->n_in; j++, in += stride, d += stride)
            for (ptrdiff_t c = 0; c < width; c++) in[c] = add ? in[c] + d[c] : d[c];
    return count;
}

/* As rows_first_gradient. */
static void NAME(units_first_gradient)(const cmlp_op *op, void *gradient, const cmlp_rows *r, ptrdiff_t from,
                                       ptrdiff_t to, int accumulate) {
    const ptrdiff_t stride = r->stride, width = PADDED(op->n_out);
    const REAL *in = (op->source < 0 ? (const REAL *)r->x : (const REAL *)r->activations + op->source * stride);
    const REAL *d = (const REAL *)r->deltas + op->delta * stride;
    REAL *G = (REAL *)gradient + op->weights, *g = (REAL *)gradient + op->biases;
    const int with_biases = op->biases >= 0 && from == 0;
    in += from * stride;
    if (NAME(has_rows_of_deltas)(op)) {
        NAME(product)((NAME(factors)){.m = to - from,
                                      .n = width,
                                      .k = r->n,
                                      .a = in,
                                      .a_row = stride,
                                      .a_k = 1,
                                      .b = d,
                                      .b_row = width,
                                      .c = G + from * op->ld,
                                      .c_row = op->ld,
                                      .accumulate = accumulate,
                                      .pack = r->pack});
        if (with_biases) NAME(sum_rows)(r->n, width, d, width, g, accumulate);
        return;
    }
    if (op->layout == CMLP_ROWS)
        NAME(dots)(to - from, op->n_out, r->n, in, stride, d, stride, NULL, G + from * op->ld, op->ld, accumulate);
    else
        NAME(dots)(op->n_out, to - from, r->n, d, stride, in, stride, NULL, G + from, op->ld, accumulate);
    for (ptrdiff_t j = 0; with_biases && j < op->n_out; j++) {
        VEC sum = {0};
        for (ptrdiff_t c = 0; c < r->n; c += LANES) sum += NAME(load)(d + j * stride + c);
        g[j] = NAME(sum)(sum) + (accumulate ? g[j] : 0);
    }
}

static void NAME(batch_forward)(const cmlp_op *op, const void *params, const cmlp_rows *r) {
    if (r->units_first)
        NAME(units_first_forward)(op, params, r);
    else
        NAME(rows_first_forward)(op, params, r);
}

static ptrdiff_t NAME(batch_errors)(const cmlp_op *op, const void *params, const cmlp_target *to, const cmlp_rows *r,
                                    void *scratch) {
    return r->units_first ? NAME(units_first_errors)(op, params, to, r)
                          : NAME(rows_first_errors)(op, params, to, r, scratch);
}

static void NAME(batch_gradient)(const cmlp_op *op, void *gradient, const cmlp_rows *r, ptrdiff_t from, ptrdiff_t to,
                                 int accumulate) {
    if (r->units_first)
        NAME(units_first_gradient)(op, gradient, r, from, to, accumulate);
    else
        NAME(rows_first_gradient)(op, gradient, r, from, to, accumulate);
}
