/* One operation for one sample, forward and backward. */

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
        NAME(store_first)(out, NAME(f_relu)(even + odd, 0), n_out);
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

static ptrdiff_t NAME(dense_backward)(const cmlp_op *op, const REAL *params, REAL *target, REAL scale, REAL psi,
                                      const REAL *in, const REAL *a, REAL *errors, REAL *d) {
    REAL *u = d + PADDED(op->n_out), *da = errors + op->source;
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

/* The same for a narrow layer: δ and u stay in registers. */
INLINE ptrdiff_t NAME(narrow_backward)(const cmlp_op *op, REAL *params, REAL scale, REAL psi, const REAL *in,
                                       const REAL *a, REAL *errors) {
    const ptrdiff_t n_in = op->n_in, n_out = op->n_out, ld = op->ld;
    const int want_da = op->input_gradient != CMLP_NOT_WANTED, add = op->input_gradient == CMLP_ACCUMULATE;
    REAL *W = params + op->weights, *da = errors + op->source;
    VEC d = n_out == 1 ? (VEC){errors[op->out]} : NAME(load_in_16s)(errors + op->out);
    const VEC a_out = NAME(load)(a + op->out);
    d = NAME(simple_backward)(op->fused ? CMLP_IDENTITY : op->activation, a_out, d);
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

/* δ from ∂ℓ/∂out, then ∂ℓ/∂in with the weights as they are and the unclipped δ, then the target (kernels.h). scratch: two
 * padded vectors as wide as the widest layer. Returns how many elements of δ were clipped. */
static ptrdiff_t NAME(backward)(const cmlp_op *op, const void *params, const cmlp_target *to, const void *x,
                                const void *activations, void *errors, void *scratch) {
    const REAL *a = activations;
    REAL *error = errors, *d = scratch;
    if (op->kind == CMLP_DENSE) {
        const REAL *in = op->source < 0 ? (const REAL *)x : a + op->source, scale = (REAL)to->scale;
        const REAL psi = (REAL)to->clip_delta;
        const int simple = op->fused || NAME(is_simple)(op->activation);
        if (params == to->values && NAME(is_narrow)(op) && simple)
            return NAME(narrow_backward)(op, to->values, scale, psi, in, a, error);
        return NAME(dense_backward)(op, params, to->values, scale, psi, in, a, error, d);
    }
    if (op->input_gradient == CMLP_NOT_WANTED) return 0;
    const REAL *d_in = error + op->out;
    if (op->kind == CMLP_ACTIVATION) { /* nothing to update, so nothing to clip */
        NAME(error_term)(op, a + op->z, a + op->out, d_in, d, INFINITY, 1, d, d + PADDED(op->n_out));
        d_in = d;
    }
    REAL *da = error + op->source;
    const int add = op->input_gradient == CMLP_ACCUMULATE;
    for (ptrdiff_t i = 0; i < op->n_in; i++) da[i] = add ? da[i] + d_in[i] : d_in[i];
    return 0;
}
