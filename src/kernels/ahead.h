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

/* δ of the output, and u = scale · δ̃, from ∂ℓ/∂ŷ, which is in the error buffer too. */
INLINE REAL NAME(ahead_output_error)(const cmlp_op *op, REAL d, const REAL *buffer, REAL *errors, REAL psi, REAL scale,
                                     REAL *scratch, REAL *u, ptrdiff_t *n_clipped) {
    if (op->fused || op->activation == CMLP_IDENTITY) {
        *n_clipped += d > psi || d < -psi;
        *u = scale * (d > psi ? psi : d < -psi ? -psi : d);
        return d;
    }
    *n_clipped += NAME(error_term)(op, buffer + op->z, buffer + op->out, errors + op->out, errors + op->z, psi, scale,
                                   scratch, scratch + LANES);
    *u = scratch[LANES];
    return scratch[0];
}

/* Whether the output decides as the target does. */
INLINE int NAME(ahead_is_right)(int loss, REAL a, const REAL *y, int64_t label) {
    if (!y) return label == 0;
    if (loss == CMLP_BINARY_CROSS_ENTROPY) return (a > (REAL)0.5) == (y[0] > (REAL)0.5);
    return loss == CMLP_HINGE && (a > 0) == (y[0] > 0);
}

/* R vectors of hidden units. activations, errors: the program's buffers; scratch: two padded vectors. */
INLINE void NAME(ahead_loop)(const cmlp_op *ops, const cmlp_net *net, REAL *params, const cmlp_samples *s,
                             const cmlp_rates *rates, const cmlp_update *update, REAL *buffer, REAL *errors,
                             REAL *scratch, cmlp_result *result, const int R) {
    const cmlp_op *hidden = ops, *last = ops + 1;
    const ptrdiff_t n_in = hidden->n_in, n_units = hidden->n_out, ld = hidden->ld;
    const ptrdiff_t stride = last->layout == CMLP_ROWS ? last->ld : 1; /* between the output's weights */
    const int f = hidden->activation, g = last->activation;
    const REAL psi = (REAL)update->clip_delta, *X = (const REAL *)s->X;
    REAL *W = params + hidden->weights, *v = params + last->weights, gram = 0, memory[CMLP_MOST_AHEAD] = {0};
    REAL b_out = last->biases < 0 ? 0 : params[last->biases];
    VEC b[8], w[8], P[8], u[8], z[8], a[8], d[8];
    for (ptrdiff_t j = 0; j < n_units; j++) memory[j] = v[j * stride];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        b[r] = hidden->biases < 0 ? (VEC){0} : NAME(load)(params + hidden->biases + r * LANES);
        w[r] = NAME(load)(memory + r * LANES);
        u[r] = (VEC){0};
    }
    const REAL *x = X + (s->order ? s->order[0] : 0) * n_in;
    NAME(look_ahead)(hidden, W, b, x, x, P, R);
    for (ptrdiff_t t = 0; t < s->n; t++) {
        const ptrdiff_t c = s->order ? s->order[t] : t, after = t + 1 < s->n ? t + 1 : t;
        const REAL *next = X + (s->order ? s->order[after] : after) * n_in;
        const REAL *y = s->Y ? (const REAL *)s->Y + c : NULL;
        const REAL scale = -(REAL)rates->values[rates->n > 1 ? t : 0];
        const double weight = s->weights ? s->weights[c] : 1.0;
        const int64_t label = s->labels ? s->labels[c] : -1;
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) z[r] = P[r] + gram * u[r];
        const REAL look = z[0][0] + gram;
        if (__builtin_expect(!(look - look == 0), 0)) { /* x_t is not finite, or x_{t-1}·x_t overflows */
            if (NAME(first_nonfinite)(n_in, x) >= 0) {
                result->bad = t;
                break;
            }
            NAME(look_ahead)(hidden, W, b, x, x, z, R);
        }
        REAL next_gram = NAME(look_ahead)(hidden, W, b, x, next, P, R);
        if (f == CMLP_RELU || f == CMLP_IDENTITY) {
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) a[r] = f == CMLP_RELU ? NAME(f_relu)(z[r], 0) : z[r];
        } else {
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) NAME(store)(buffer + hidden->z + r * LANES, z[r]);
            NAME(activate_slice)(f, n_units, hidden->alpha, buffer + hidden->z, buffer + hidden->out);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) a[r] = NAME(load_first)(buffer + hidden->out + r * LANES, n_units - r * LANES);
        }
        VEC product = a[0] * w[0];
#pragma GCC unroll 8
        for (int r = 1; r < R; r++) product += a[r] * w[r];
        REAL z_out = NAME(sum_of_few)(product, n_units) + b_out, a_out = z_out, error, d_out, u_out;
        double loss;
        if (g != CMLP_IDENTITY || net->loss != CMLP_SQUARED_ERROR) {
            buffer[last->z] = z_out;
            NAME(activate_slice)(g, 1, last->alpha, buffer + last->z, buffer + last->out);
            a_out = buffer[last->out];
            loss = NAME(loss)(net, buffer + last->z, buffer + last->out, y, label, weight, errors + last->out);
            error = errors[last->out];
        } else {
            const REAL e = a_out - y[0];
            loss = 0.5 * (double)e * (double)e;
            error = (REAL)weight * e;
        }
        if (__builtin_expect(!(loss - loss == 0), 0)) {
            result->bad = t;
            break;
        }
        d_out = NAME(ahead_output_error)(last, error, buffer, errors, psi, scale, scratch, &u_out, &result->n_clipped);
        result->loss += loss * weight;
        if (update->counts_right && NAME(ahead_is_right)(net->loss, a_out, y, label)) result->correct += weight;
        if (NAME(is_simple)(f)) {
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                d[r] = NAME(simple_backward)(f, a[r], d_out * w[r]);
                u[r] = NAME(limited)(d[r], psi, scale, &result->n_clipped);
            }
        } else {
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) NAME(store)(errors + hidden->out + r * LANES, d_out * w[r]);
            result->n_clipped +=
                NAME(error_term)(hidden, buffer + hidden->z, buffer + hidden->out, errors + hidden->out,
                                 errors + hidden->z, psi, scale, scratch, scratch + R * LANES);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) u[r] = NAME(load_first)(scratch + (R + r) * LANES, n_units - r * LANES);
        }
        REAL *row = W;
        for (ptrdiff_t i = 0; i < n_in; i++, row += ld) {
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) NAME(store)(row + r * LANES, NAME(load)(row + r * LANES) + x[i] * u[r]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            w[r] += u_out * a[r];
            if (hidden->biases >= 0) b[r] += u[r];
        }
        if (last->biases >= 0) b_out += u_out;
        gram = next_gram, x = next;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        if (hidden->biases >= 0) NAME(store)(params + hidden->biases + r * LANES, b[r]);
        NAME(store)(memory + r * LANES, w[r]);
    }
    for (ptrdiff_t j = 0; j < n_units; j++) v[j * stride] = memory[j];
    if (last->biases >= 0) params[last->biases] = b_out;
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
    const int vectors = (int)((ops->n_out + LANES - 1) / LANES);
#define FOR(R)                                                                                     \
    if (vectors <= R && R * LANES <= CMLP_MOST_AHEAD) {                                            \
        NAME(ahead_loop)(ops, net, params, s, rates, update, activations, errors, scratch, result, \
                         R * LANES <= CMLP_MOST_AHEAD ? R : 1);                                    \
        return;                                                                                    \
    }
    FOR(1)
    FOR(2)
    FOR(4)
    FOR(8)
#undef FOR
#endif
}
