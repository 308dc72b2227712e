/* One sample of plain per-sample SGD through a chain of narrow dense layers, forward, loss and backward in one function:
 * between small layers, calls and the choice of a loop cost more than the arithmetic. A layer by rows takes up to four
 * vectors of its units at a time, which stay in registers. What a layer stores is loaded again in the same pieces, so that
 * the processor can hand it over from its store buffer. */

/* Indices of __builtin_shufflevector for two vectors a, b: in every 16 bytes the elements i..l, 4 and above (float) or 2
 * and above (double) being those of b. */
#define IN_F(lane, i) ((i) < 4 ? 4 * (lane) + (i) : (int)LANES + 4 * (lane) + (i) - 4)
#define FOUR_F(lane, i, j, k, l) IN_F(lane, i), IN_F(lane, j), IN_F(lane, k), IN_F(lane, l)
#define IN_D(lane, i) ((i) < 2 ? 2 * (lane) + (i) : (int)LANES + 2 * (lane) + (i) - 2)
#define TWO_D(lane, i, j) IN_D(lane, i), IN_D(lane, j)
#if VECTOR_BYTES == 16
#define EACH_F(...) FOUR_F(0, __VA_ARGS__)
#define EACH_D(...) TWO_D(0, __VA_ARGS__)
#elif VECTOR_BYTES == 32
#define EACH_F(...) FOUR_F(0, __VA_ARGS__), FOUR_F(1, __VA_ARGS__)
#define EACH_D(...) TWO_D(0, __VA_ARGS__), TWO_D(1, __VA_ARGS__)
#else
#define EACH_F(...) FOUR_F(0, __VA_ARGS__), FOUR_F(1, __VA_ARGS__), FOUR_F(2, __VA_ARGS__), FOUR_F(3, __VA_ARGS__)
#define EACH_D(...) TWO_D(0, __VA_ARGS__), TWO_D(1, __VA_ARGS__), TWO_D(2, __VA_ARGS__), TWO_D(3, __VA_ARGS__)
#endif

/* In every 16 bytes: the sums of a's halves (or elements), then those of b's. */
INLINE VEC NAME(add_pairs)(VEC a, VEC b) {
#if DOUBLE_PRECISION
    return __builtin_shufflevector(a, b, EACH_D(0, 2)) + __builtin_shufflevector(a, b, EACH_D(1, 3));
#else
    return __builtin_shufflevector(a, b, EACH_F(0, 4, 1, 5)) + __builtin_shufflevector(a, b, EACH_F(2, 6, 3, 7));
#endif
}

/* Pairs of neighbouring 16 bytes added: a's, then b's. */
INLINE VEC NAME(add_lanes)(VEC a, VEC b) {
#if VECTOR_BYTES == 32 && DOUBLE_PRECISION
    return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
#elif VECTOR_BYTES == 32
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
#elif VECTOR_BYTES == 64 && DOUBLE_PRECISION
    return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13) +
           __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15);
#elif VECTOR_BYTES == 64
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
#else
    return a;
#endif
}

/* Lane i: the sum of v[i], by transposed additions. */
INLINE VEC NAME(sums)(const VEC *v) {
    enum { PER_16 = 16 / sizeof(REAL), N_16 = VECTOR_BYTES / 16 };
    VEC q[N_16];
#pragma GCC unroll 4
    for (int k = 0; k < N_16; k++, v += PER_16) {
#if DOUBLE_PRECISION
        q[k] = NAME(add_pairs)(v[0], v[1]);
#else
        const VEC p = NAME(add_pairs)(v[0], v[1]), r = NAME(add_pairs)(v[2], v[3]);
        q[k] = __builtin_shufflevector(p, r, EACH_F(0, 1, 4, 5)) + __builtin_shufflevector(p, r, EACH_F(2, 3, 6, 7));
#endif
    }
    if (N_16 == 1) return q[0];
    if (N_16 == 2) return NAME(add_lanes)(q[0], q[N_16 - 1]);
    return NAME(add_lanes)(NAME(add_lanes)(q[0], q[1]), NAME(add_lanes)(q[N_16 - 2], q[N_16 - 1]));
}
#undef IN_F
#undef FOUR_F
#undef IN_D
#undef TWO_D
#undef EACH_F
#undef EACH_D

/* ------------------------------------------------------------------------------------------------- forward */

/* z = b + Wᵀ a for R vectors of units, W (n_in, ld) by rows, U inputs at a time. */
INLINE void NAME(chain_product)(ptrdiff_t n_in, const REAL *W, ptrdiff_t ld, const REAL *b, const REAL *a, VEC *z,
                                const int R, const int U) {
    VEC sum[4][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        sum[0][r] = b ? NAME(load)(b + r * LANES) : (VEC){0};
#pragma GCC unroll 4
        for (int u = 1; u < U; u++) sum[u][r] = (VEC){0};
    }
    ptrdiff_t i = 0;
    for (; i + U <= n_in; i += U) {
#pragma GCC unroll 4
        for (int u = 0; u < U; u++, W += ld) {
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) sum[u][r] += a[i + u] * NAME(load)(W + r * LANES);
        }
    }
    for (; i < n_in; i++, W += ld) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) sum[0][r] += a[i] * NAME(load)(W + r * LANES);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
        z[r] = U == 4 ? (sum[0][r] + sum[1][r]) + (sum[2][r] + sum[3][r]) : sum[0][r] + sum[1][r];
}

/* The same, stored: a of relu, else z. Returns z of the first unit. */
INLINE REAL NAME(chain_units)(const cmlp_op *op, ptrdiff_t j, const REAL *W, const REAL *b, const REAL *a, REAL *buffer,
                              const int R, const int U) {
    VEC z[4];
    NAME(chain_product)(op->n_in, W + j, op->ld, b ? b + j : NULL, a, z, R, U);
    const int relu = op->activation == CMLP_RELU;
    REAL *to = buffer + (relu ? op->out : op->z) + j;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) NAME(store)(to + r * LANES, relu ? NAME(f_relu)(z[r], 0) : z[r]);
    return z[0][0];
}

/* Inputs i.. of a layer by columns, zeros behind the last: W ends there in zeros, which must stay. */
INLINE VEC NAME(chain_inputs)(const cmlp_op *op, const REAL *a, ptrdiff_t i) {
    const ptrdiff_t left = op->n_in - i;
    return op->source < 0 && left < LANES ? NAME(load_exactly)(a + i, left) : NAME(load_first)(a + i, left);
}

/* z = b + Wᵀ a, W (n_out, ld) by columns: the dot products of four units at a time. */
INLINE void NAME(chain_columns)(const cmlp_op *op, const REAL *W, const REAL *b, const REAL *a, REAL *z) {
    const ptrdiff_t n_in = op->n_in, n_out = op->n_out, ld = op->ld;
    if (n_out == 1) {
        VEC sum = {0};
        for (ptrdiff_t i = 0; i < n_in; i += LANES) sum += NAME(chain_inputs)(op, a, i) * NAME(load)(W + i);
        z[0] = NAME(sum)(sum) + (b ? b[0] : 0);
        return;
    }
    for (ptrdiff_t j = 0; j < n_out; j += 4, W += 4 * ld) {
        VEC sum[4] = {{0}, {0}, {0}, {0}};
        for (ptrdiff_t i = 0; i < n_in; i += LANES) {
            const VEC a_i = NAME(chain_inputs)(op, a, i);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                if (k < n_out - j) sum[k] += a_i * NAME(load)(W + k * ld + i);
        }
        NAME(store_four_sums)(z + j, sum, 0);
    }
    for (ptrdiff_t j = 0; j < n_out; j += LANES) {
        const VEC z_j = NAME(load_in_16s)(z + j);
        NAME(store)(z + j, b ? z_j + NAME(load)(b + j) : z_j);
    }
}

/* One layer; returns z of its first unit. */
INLINE REAL NAME(chain_forward)(const cmlp_op *op, const REAL *params, const REAL *a, REAL *buffer) {
    const REAL *W = params + op->weights, *b = op->biases < 0 ? NULL : params + op->biases;
    const int relu = op->activation == CMLP_RELU;
    REAL *z = buffer + op->z, z_0 = 0;
    if (op->layout == CMLP_COLUMNS) {
        NAME(chain_columns)(op, W, b, a, z);
        z_0 = z[0];
    } else {
        for (ptrdiff_t j = 0; j < op->n_out; j += 4 * LANES) {
            switch ((op->n_out - j + LANES - 1) / LANES) {
            case 1: z_0 = NAME(chain_units)(op, j, W, b, a, buffer, 1, 4); break;
            case 2: z_0 = NAME(chain_units)(op, j, W, b, a, buffer, 2, 4); break;
            case 3: z_0 = NAME(chain_units)(op, j, W, b, a, buffer, 3, 2); break;
            default: z_0 = NAME(chain_units)(op, j, W, b, a, buffer, 4, 2); break;
            }
        }
        if (relu) return z_0;
    }
    if (op->activation != CMLP_IDENTITY)
        NAME(activate_slice)(op->activation, op->n_out, op->alpha, z, buffer + op->out);
    return z_0;
}

/* ---------------------------------------------------------------------------------------------------- loss */

/* Σ v_i² in double. */
INLINE double NAME(sum_of_squared)(VEC v) {
#if DOUBLE_PRECISION
    return NAME(sum)(v * v);
#elif VECTOR_BYTES == 16
    double sum = 0;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sum += (double)v[i] * (double)v[i];
    return sum;
#else
    typedef double DOUBLES __attribute__((vector_size(VECTOR_BYTES)));
#if VECTOR_BYTES == 32
    const DOUBLES low = __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), DOUBLES);
    const DOUBLES high = __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), DOUBLES);
    const DOUBLES s = low * low + high * high;
    return (s[0] + s[1]) + (s[2] + s[3]);
#else
    const DOUBLES low = __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7), DOUBLES);
    const DOUBLES high = __builtin_convertvector(__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15), DOUBLES);
    const DOUBLES s = low * low + high * high;
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
#endif
#endif
}

/* ℓ, and weight · ∂ℓ/∂ŷ padded with zeros in whole vectors. */
INLINE double NAME(chain_loss)(const cmlp_net *net, const cmlp_op *last, const REAL *buffer, const REAL *y,
                               int64_t label, double weight, REAL *error) {
    const REAL *a = buffer + last->out;
    const ptrdiff_t n = last->n_out;
    if (net->loss != CMLP_SQUARED_ERROR) {
        const double loss = NAME(loss)(net, buffer + last->z, a, y, label, weight, error);
        for (ptrdiff_t j = 0; n > 1 && j < n; j += LANES) NAME(store)(error + j, NAME(load_first)(error + j, n - j));
        return loss;
    }
    if (n == 1) {
        const REAL e = a[0] - y[0];
        error[0] = (REAL)weight * e;
        return 0.5 * (double)e * (double)e;
    }
    double sum = 0;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ptrdiff_t left = n - j;
        const VEC e =
            NAME(load_first)(a + j, left) - (left < LANES ? NAME(load_exactly)(y + j, left) : NAME(load)(y + j));
        NAME(store)(error + j, (REAL)weight * e);
        sum += NAME(sum_of_squared)(e);
    }
    return 0.5 * sum;
}

/* ------------------------------------------------------------------------------------------------ backward */

/* u = scale · δ̃; counts the clipped elements. */
INLINE VEC NAME(limited)(VEC d, REAL psi, REAL scale, ptrdiff_t *n_clipped) {
    if (psi < (REAL)INFINITY) {
        const IVEC above = d > psi, below = d < -psi; /* false for NaN, which stays */
        *n_clipped += __builtin_popcountll(NAME(bits)(above | below));
        d = NAME(select)(above, NAME(broadcast)(psi), NAME(select)(below, NAME(broadcast)(-psi), d));
    }
    return scale * d;
}

/* Lanes of W_i · δ for one row of R vectors, with W as it is; then W_i += a_i u. */
INLINE VEC NAME(chain_row)(REAL *W, REAL a_i, const VEC *d, const VEC *u, const int R) {
    VEC w[4], p;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) w[r] = NAME(load)(W + r * LANES);
    p = w[0] * d[0];
#pragma GCC unroll 4
    for (int r = 1; r < R; r++) p += w[r] * d[r];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) NAME(store)(W + r * LANES, w[r] + a_i * u[r]);
    return p;
}

/* Memory is forgotten here: gcc would carry what it stored in registers to the next loop, until it has none left. */
#define FORGET() __asm__ volatile("" ::: "memory")

/* W += a uᵀ for R vectors of units, W (n_in, ld) by rows. */
INLINE void NAME(chain_update)(ptrdiff_t n_in, REAL *W, ptrdiff_t ld, const REAL *a, const VEC *u, const int R) {
    for (ptrdiff_t i = 0; i < n_in; i++, W += ld) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) NAME(store)(W + r * LANES, NAME(load)(W + r * LANES) + a[i] * u[r]);
    }
}

/* The same, with da (+)= W δ in the same pass. */
INLINE void NAME(chain_rows_back)(ptrdiff_t n_in, REAL *W, ptrdiff_t ld, const REAL *a, const VEC *d, const VEC *u,
                                  REAL *da, int add, const int R) {
    ptrdiff_t i = 0;
    VEC p[LANES];
    for (; i + LANES <= n_in; i += LANES) {
#pragma GCC unroll 16
        for (int k = 0; k < (int)LANES; k++, W += ld) p[k] = NAME(chain_row)(W, a[i + k], d, u, R);
        const VEC sums = NAME(sums)(p);
        NAME(store)(da + i, add ? sums + NAME(load)(da + i) : sums);
        FORGET();
    }
    if (i >= n_in) return;
    VEC rest[LANES];
    for (int k = 0; k < (int)LANES; k++, W += ld) {
        rest[k] = (VEC){0};
        if (k < n_in - i) rest[k] = NAME(chain_row)(W, a[i + k], d, u, R);
    }
    const VEC sums = NAME(sums)(rest);
    NAME(store)(da + i, add ? sums + NAME(load)(da + i) : sums);
}

/* δ and u = scale · δ̃ of R vectors of units from j on: in d and u. */
INLINE ptrdiff_t NAME(chain_deltas)(const cmlp_op *op, ptrdiff_t j, const REAL *buffer, const REAL *errors, REAL psi,
                                    REAL scale, VEC *d, VEC *u, const int R) {
    const int f = op->fused ? CMLP_IDENTITY : op->activation;
    const IVEC last = NAME(first_lanes)(op->n_out - j - (R - 1) * LANES);
    ptrdiff_t count = 0;
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
        d[r] = op->n_out == 1 ? (VEC){errors[op->out]} : NAME(load)(errors + op->out + j + r * LANES);
    if (f != CMLP_IDENTITY) {
        VEC a[4];
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) a[r] = NAME(load)(buffer + op->out + j + r * LANES);
        if (f == CMLP_RELU) {
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) d[r] = NAME(d_relu)(a[r], a[r], d[r], 0, 0);
        } else {
#pragma GCC unroll 4
            for (int r = 0; r < R; r++) d[r] = NAME(simple_backward)(f, a[r], d[r]);
        }
    }
    d[R - 1] = (VEC)((IVEC)d[R - 1] & last);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) u[r] = NAME(limited)(d[r], psi, scale, &count);
    return count;
}

/* One chunk of a layer by rows; deltas: δ and u of the whole layer, or NULL if they are still to be made. */
INLINE ptrdiff_t NAME(chain_units_back)(const cmlp_op *op, ptrdiff_t j, REAL *params, const REAL *in,
                                        const REAL *buffer, REAL *errors, REAL psi, REAL scale, const REAL *deltas,
                                        const int R) {
    VEC d[4], u[4];
    ptrdiff_t count = 0;
    if (deltas) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            d[r] = NAME(load)(deltas + j + r * LANES);
            u[r] = NAME(load)(deltas + PADDED(op->n_out) + j + r * LANES);
        }
    } else {
        count = NAME(chain_deltas)(op, j, buffer, errors, psi, scale, d, u, R);
    }
    if (op->biases >= 0) { /* ∂ℓ/∂b = δ */
        REAL *b = params + op->biases + j;
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) NAME(store)(b + r * LANES, NAME(load)(b + r * LANES) + u[r]);
    }
    REAL *W = params + op->weights + j;
    if (op->input_gradient == CMLP_NOT_WANTED)
        NAME(chain_update)(op->n_in, W, op->ld, in, u, R);
    else
        NAME(chain_rows_back)(op->n_in, W, op->ld, in, d, u, errors + op->source, j > 0, R);
    return count;
}

/* By columns: da = Σ_j δ_j W_j and W_j += u_j a, a vector of inputs at a time. */
INLINE void NAME(chain_columns_back)(const cmlp_op *op, REAL *W, const REAL *a, const REAL *d, const REAL *u,
                                     REAL *da) {
    const ptrdiff_t n_in = op->n_in;
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n_in; i += 2 * LANES) {
        const VEC a_i[2] = {NAME(load)(a + i), NAME(load)(a + i + LANES)};
        VEC da_i[2];
        NAME(columns_step)(op, W, W, i, a_i, d, u, da_i, 1, 1, 2, LANES);
        if (da) NAME(store)(da + i, da_i[0]);
        if (da) NAME(store)(da + i + LANES, da_i[1]);
    }
    for (; i < n_in; i += LANES) {
        const VEC a_i = NAME(chain_inputs)(op, a, i);
        VEC da_i;
        NAME(columns_step)(op, W, W, i, &a_i, d, u, &da_i, 1, 1, 1, n_in - i);
        if (da) NAME(store)(da + i, da_i);
    }
}

/* By columns, δ and u = scale · δ̃ into the scratch memory, unless they are `known` there, and b += u. */
INLINE ptrdiff_t NAME(chain_columns_deltas)(const cmlp_op *op, REAL *b, const REAL *buffer, const REAL *errors,
                                            REAL psi, REAL scale, REAL *scratch, int known) {
    REAL *u = scratch + PADDED(op->n_out);
    if (op->n_out == 1 && (op->fused || op->activation == CMLP_IDENTITY)) { /* scalars all the way */
        const REAL d = scratch[0] = errors[op->out];
        u[0] = scale * (d > psi ? psi : d < -psi ? -psi : d);
        if (b) b[0] += u[0];
        return d > psi || d < -psi;
    }
    ptrdiff_t count = 0;
    for (ptrdiff_t j = 0; j < op->n_out; j += LANES) {
        VEC d_j, u_j = NAME(load)(u + j);
        if (!known) {
            count += NAME(chain_deltas)(op, j, buffer, errors, psi, scale, &d_j, &u_j, 1);
            NAME(store)(scratch + j, d_j);
            NAME(store)(u + j, u_j);
        }
        if (b) NAME(store)(b + j, NAME(load)(b + j) + u_j);
    }
    return count;
}

/* One layer: δ from ∂ℓ/∂out, ∂ℓ/∂in with the weights as they are and the unclipped δ, then the weights. Returns how many
 * elements of δ were clipped. */
INLINE ptrdiff_t NAME(chain_backward)(const cmlp_op *op, REAL *params, const REAL *in, const REAL *buffer, REAL *errors,
                                      REAL psi, REAL scale, REAL *scratch) {
    const ptrdiff_t n_out = op->n_out;
    const int simple = op->fused || NAME(is_simple)(op->activation);
    REAL *u = scratch + PADDED(n_out), *b = op->biases < 0 ? NULL : params + op->biases;
    REAL *da = op->input_gradient == CMLP_NOT_WANTED ? NULL : errors + op->source;
    ptrdiff_t count = 0;
    if (!simple)
        count = NAME(error_term)(op, buffer + op->z, buffer + op->out, errors + op->out, errors + op->z, psi, scale,
                                 scratch, u);
    if (op->layout == CMLP_COLUMNS) {
        count += NAME(chain_columns_deltas)(op, b, buffer, errors, psi, scale, scratch, !simple);
        NAME(chain_columns_back)(op, params + op->weights, in, scratch, u, da);
        return count;
    }
    for (ptrdiff_t j = 0; j < n_out; j += 4 * LANES) {
#define CHUNK(R)                                                                                                \
    count += NAME(chain_units_back)(op, j, params, in, buffer, errors, psi, scale, simple ? NULL : scratch, R); \
    break;
        switch ((n_out - j + LANES - 1) / LANES) {
        case 1: CHUNK(1)
        case 2: CHUNK(2)
        case 3: CHUNK(3)
        default: CHUNK(4)
        }
#undef CHUNK
    }
    return count;
}

/* ℓ of sample c, and its update if ℓ is finite; NaN for an x that is not. `to`: params, -γ and ψ. */
static double NAME(chain)(const cmlp_op *ops, int n_ops, const cmlp_net *net, const cmlp_target *to,
                          const cmlp_samples *s, ptrdiff_t c, void *activations, void *errors, void *scratch,
                          ptrdiff_t *n_clipped) {
    const REAL *x = (const REAL *)s->X + c * net->n_inputs, *y = s->Y ? (const REAL *)s->Y + c * net->n_outputs : NULL;
    const REAL psi = (REAL)to->clip_delta, scale = (REAL)to->scale;
    const cmlp_op *last = ops + n_ops - 1;
    REAL *params = to->values, *buffer = activations, *e = errors;
    for (const cmlp_op *op = ops; op <= last; op++) {
        const REAL z_0 = NAME(chain_forward)(op, params, op == ops ? x : buffer + op->source, buffer);
        if (op == ops && !(z_0 - z_0 == 0) && NAME(first_nonfinite)(op->n_in, x) >= 0) return NAN;
    }
    const double loss = NAME(chain_loss)(net, last, buffer, y, s->labels ? s->labels[c] : -1,
                                         s->weights ? s->weights[c] : 1.0, e + last->out);
    if (!(loss - loss == 0)) return loss;
    for (const cmlp_op *op = last; op >= ops; op--)
        *n_clipped +=
            NAME(chain_backward)(op, params, op == ops ? x : buffer + op->source, buffer, e, psi, scale, scratch);
    return loss;
}
#undef FORGET
