/* Plain per-sample SGD of one hidden layer of up to 16 units and one output, one sample looked ahead. There is so little
 * arithmetic that the time from one sample's update to the next one's output is what counts. With the updates u = -γ δ̃ of
 * the hidden layer, and W, b the parameters before sample t learns,
 *
 *     z_{t+1} = P + (x_t·x_{t+1} + 1) u_t,  P = Wᵀ x_{t+1} + b,
 *
 * so P is made before u_t is known. It *is* per-sample SGD, but for rounding. The output's weights stay in registers. With
 * AVX-512 too, vectors have 32 bytes: adding up one of 64 takes longer. */
#if VECTOR_BYTES < 64

/* P, and x·x_next (+ 1 with a bias). */
INLINE REAL NAME(look_ahead)(const cmlp_op *op, const REAL *W, const VEC *b, const REAL *x, const REAL *next, VEC *P,
                             const int R) {
    REAL gram = op->biases < 0 ? 0 : 1;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) P[r] = b[r];
    for (ptrdiff_t i = 0; i < op->n_in; i++, W += op->ld) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) P[r] += next[i] * NAME(load)(W + r * LANES);
        gram += x[i] * next[i];
    }
    return gram;
}

/* The sum of a vector, of which only the first n elements are not 0. */
INLINE REAL NAME(sum_of_few)(VEC v, ptrdiff_t n) {
#if VECTOR_BYTES > 16 && DOUBLE_PRECISION
    if (n <= 2) return v[0] + v[1];
#elif VECTOR_BYTES > 16
    if (n <= 4) return (v[0] + v[2]) + (v[1] + v[3]);
#endif
    return NAME(sum)(v);
}

/* What a pass works with. `plain` below: relu or no function at the hidden units, none at the output, and squared error;
 * then nothing is called, and all state stays in registers. */
typedef struct {
    const cmlp_op *hidden, *last;
    const cmlp_net *net;
    REAL *buffer, *errors, *scratch, psi;
} NAME(two_layers);

/* a = f(z). */
INLINE void NAME(ahead_hidden)(const NAME(two_layers) * l, const VEC *z, VEC *a, const int R, const int plain) {
    const cmlp_op *op = l->hidden;
    if (plain) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) a[r] = op->activation == CMLP_RELU ? NAME(f_relu)(z[r], 0) : z[r];
        return;
    }
    REAL *at = l->buffer + op->z, *out = l->buffer + op->out;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) NAME(store)(at + r * LANES, z[r]);
    NAME(activate_slice)(op->activation, op->n_out, op->alpha, at, out);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) a[r] = NAME(load_first)(out + r * LANES, op->n_out - r * LANES);
}

/* ℓ, a = ŷ and weight · ∂ℓ/∂ŷ. */
INLINE double NAME(ahead_loss)(const NAME(two_layers) * l, REAL z, const REAL *y, int64_t label, double weight, REAL *a,
                               REAL *error, const int plain) {
    const cmlp_op *op = l->last;
    if (plain) {
        const REAL e = z - y[0];
        *a = z, *error = (REAL)weight * e;
        return 0.5 * (double)e * (double)e;
    }
    REAL *at = l->buffer + op->z, *out = l->buffer + op->out;
    *at = z;
    NAME(activate_slice)(op->activation, 1, op->alpha, at, out);
    const double loss = NAME(loss)(l->net, at, out, y, label, weight, l->errors + op->out);
    *a = *out, *error = l->errors[op->out];
    return loss;
}

/* δ of the output from ∂ℓ/∂ŷ, and u = scale · δ̃. */
INLINE REAL NAME(ahead_output_error)(const NAME(two_layers) * l, REAL d, REAL scale, REAL *u, ptrdiff_t *n_clipped,
                                     const int plain) {
    const cmlp_op *op = l->last;
    if (plain || op->fused || op->activation == CMLP_IDENTITY) {
        const REAL psi = l->psi;
        *n_clipped += d > psi || d < -psi;
        *u = scale * (d > psi ? psi : d < -psi ? -psi : d);
        return d;
    }
    REAL *e = l->errors;
    *n_clipped += NAME(error_term)(op, l->buffer + op->z, l->buffer + op->out, e + op->out, e + op->z, l->psi, scale,
                                   l->scratch, l->scratch + LANES);
    *u = l->scratch[LANES];
    return l->scratch[0];
}

/* u = scale · δ̃ of the hidden units, da = w δ of the output. */
INLINE void NAME(ahead_hidden_error)(const NAME(two_layers) * l, const VEC *a, const VEC *w, REAL d, REAL scale, VEC *u,
                                     ptrdiff_t *n_clipped, const int R, const int plain) {
    const cmlp_op *op = l->hidden;
    if (plain) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const VEC da = d * w[r]; /* in the padding, where w and a are 0, it is NaN if d is infinite */
            const VEC delta = op->activation == CMLP_RELU ? NAME(d_relu)(a[r], a[r], da, 0, 0)
                                                          : (VEC)((IVEC)da & NAME(first_lanes)(op->n_out - r * LANES));
            u[r] = NAME(limited)(delta, l->psi, scale, n_clipped);
        }
        return;
    }
    REAL *e = l->errors, *updates = l->scratch + R * LANES;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) NAME(store)(e + op->out + r * LANES, d * w[r]);
    *n_clipped += NAME(error_term)(op, l->buffer + op->z, l->buffer + op->out, e + op->out, e + op->z, l->psi, scale,
                                   l->scratch, updates);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) u[r] = NAME(load_first)(updates + r * LANES, op->n_out - r * LANES);
}

/* Whether the output decides as the target does. */
INLINE int NAME(ahead_is_right)(int loss, REAL a, const REAL *y, int64_t label) {
    if (!y) return label == 0;
    if (loss == CMLP_BINARY_CROSS_ENTROPY) return (a > (REAL)0.5) == (y[0] > (REAL)0.5);
    return loss == CMLP_HINGE && (a > 0) == (y[0] > 0);
}

/* The loop over the samples, R vectors of hidden units; b, w: those of the hidden units and the weights of the output. */
INLINE void NAME(ahead_loop)(const NAME(two_layers) l, REAL *W, VEC *b, VEC *w, REAL *output_bias,
                             const cmlp_samples *s, const cmlp_rates *rates, int counts_right, cmlp_result *result,
                             const int R, const int plain) {
    const ptrdiff_t n_in = l.hidden->n_in, n_units = l.hidden->n_out, ld = l.hidden->ld, n = s->n;
    const int has_b = l.hidden->biases >= 0, has_b_out = l.last->biases >= 0;
    const REAL *X = (const REAL *)s->X, *x = X + (s->order ? s->order[0] : 0) * n_in;
    VEC P[8], u[8], z[8], a[8];
    REAL b_out = *output_bias, gram = 0;
    double total = result->loss;
    ptrdiff_t n_clipped = 0;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) u[r] = (VEC){0};
    NAME(look_ahead)(l.hidden, W, b, x, x, P, R);
    for (ptrdiff_t t = 0; t < n; t++) {
        const ptrdiff_t c = s->order ? s->order[t] : t, after = t + 1 < n ? t + 1 : t;
        const REAL *next = X + (s->order ? s->order[after] : after) * n_in, *y = s->Y ? (const REAL *)s->Y + c : NULL;
        const REAL scale = -(REAL)rates->values[rates->n > 1 ? t : 0];
        const double weight = s->weights ? s->weights[c] : 1.0;
        const int64_t label = s->labels ? s->labels[c] : -1;
        REAL a_out, error, u_out;
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) z[r] = P[r] + gram * u[r];
        const REAL look = z[0][0] + gram;
        if (__builtin_expect(!(look - look == 0), 0)) { /* x_t is not finite, or x_{t-1}·x_t overflows */
            if (NAME(first_nonfinite)(n_in, x) >= 0) {
                result->bad = t;
                break;
            }
            NAME(look_ahead)(l.hidden, W, b, x, x, z, R);
        }
        gram = NAME(look_ahead)(l.hidden, W, b, x, next, P, R);
        NAME(ahead_hidden)(&l, z, a, R, plain);
        VEC product = a[0] * w[0];
#pragma GCC unroll 8
        for (int r = 1; r < R; r++) product += a[r] * w[r];
        const REAL z_out = NAME(sum_of_few)(product, n_units) + b_out;
        const double loss = NAME(ahead_loss)(&l, z_out, y, label, weight, &a_out, &error, plain);
        if (__builtin_expect(!(loss - loss == 0), 0)) {
            result->bad = t;
            break;
        }
        total += loss * weight;
        if (counts_right && NAME(ahead_is_right)(l.net->loss, a_out, y, label)) result->correct += weight;
        const REAL d = NAME(ahead_output_error)(&l, error, scale, &u_out, &n_clipped, plain);
        NAME(ahead_hidden_error)(&l, a, w, d, scale, u, &n_clipped, R, plain);
        NAME(chain_update)(n_in, W, ld, x, u, R);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            w[r] += u_out * a[r];
            if (has_b) b[r] += u[r];
        }
        if (has_b_out) b_out += u_out;
        x = next;
    }
    *output_bias = b_out;
    result->loss = total;
    result->n_clipped += n_clipped;
}

/* R vectors of hidden units: their biases and the output's weights come from the parameters, and go back to them. */
INLINE void NAME(ahead_units)(const NAME(two_layers) * l, REAL *params, const cmlp_samples *s, const cmlp_rates *rates,
                              int counts_right, cmlp_result *result, const int R) {
    const cmlp_op *hidden = l->hidden, *last = l->last;
    const int f = hidden->activation;
    const ptrdiff_t stride = last->layout == CMLP_ROWS ? last->ld : 1; /* between the output's weights */
    REAL *W = params + hidden->weights, *v = params + last->weights, memory[CMLP_MOST_AHEAD] = {0};
    REAL *b_at = hidden->biases < 0 ? NULL : params + hidden->biases, none = 0;
    REAL *b_out = last->biases < 0 ? &none : params + last->biases;
    VEC b[8], w[8];
    for (ptrdiff_t j = 0; j < hidden->n_out; j++) memory[j] = v[j * stride];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        b[r] = b_at ? NAME(load)(b_at + r * LANES) : (VEC){0};
        w[r] = NAME(load)(memory + r * LANES);
    }
    if ((f == CMLP_RELU || f == CMLP_IDENTITY) && last->activation == CMLP_IDENTITY &&
        l->net->loss == CMLP_SQUARED_ERROR)
        NAME(ahead_loop)(*l, W, b, w, b_out, s, rates, 0, result, R, 1);
    else
        NAME(ahead_loop)(*l, W, b, w, b_out, s, rates, counts_right, result, R, 0);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        if (b_at) NAME(store)(b_at + r * LANES, b[r]);
        NAME(store)(memory + r * LANES, w[r]);
    }
    for (ptrdiff_t j = 0; j < hidden->n_out; j++) v[j * stride] = memory[j];
}
#endif

static void NAME(ahead)(const cmlp_op *ops, const cmlp_net *net, void *params, const cmlp_samples *s,
                        const cmlp_rates *rates, const cmlp_update *update, void *activations, void *errors,
                        void *scratch, cmlp_result *result) {
    if (!s->n) return;
#if VECTOR_BYTES == 64 && DOUBLE_PRECISION
    ahead_f64_avx2(ops, net, params, s, rates, update, activations, errors, scratch, result);
#elif VECTOR_BYTES == 64
    ahead_f32_avx2(ops, net, params, s, rates, update, activations, errors, scratch, result);
#else
    const NAME(two_layers) layers = {ops, ops + 1, net, activations, errors, scratch, (REAL)update->clip_delta};
    const int vectors = (int)((ops->n_out + LANES - 1) / LANES);
#define FOR(R)                                                                     \
    if (vectors <= R && R * LANES <= CMLP_MOST_AHEAD) {                            \
        NAME(ahead_units)(&layers, params, s, rates, update->counts_right, result, \
                          R * LANES <= CMLP_MOST_AHEAD ? R : 1);                   \
        return;                                                                    \
    }
    FOR(1)
    FOR(2)
    FOR(4)
    FOR(8)
#undef FOR
#endif
}
