/* The activations f and their derivatives, each pair in one place. NAME(f_relu)(z, alpha) is a = f(z) of a vector of
 * elements, NAME(d_relu)(z, a, da, alpha, dot) is δ = J_fᵀ da with da = ∂ℓ/∂a: f' in terms of a where that is exact
 * enough, else of z. `dot` is a · da over all units, for softmax. */
#define F(name) INLINE VEC NAME(f_##name)(VEC z, REAL alpha)
#define D(name) INLINE VEC NAME(d_##name)(VEC z, VEC a, VEC da, REAL alpha, REAL dot)

F(identity) { return z; }
D(identity) { return da; }

/* 0 at z <= 0; NaN stays NaN, so that a diverged run is seen. */
F(relu) { return NAME(positive_part)(z); }
D(relu) { return (VEC)((a > (REAL)0) & (IVEC)da); }

F(leaky_relu) { return NAME(select)(z <= (REAL)0, z * alpha, z); }
D(leaky_relu) { return NAME(select)(a > (REAL)0, da, da * alpha); }

F(sigmoid) { return NAME(sigmoid)(z); }
D(sigmoid) { return da * (a * ((REAL)1 - a)); }

F(tanh) { return NAME(tanh)(z); }
D(tanh) { return da * ((REAL)1 - a * a); }

/* e^z, which NAME(softmax) divides by the sum over the units; J = diag(a) - a aᵀ. */
F(softmax) { return NAME(exp)(z); }
D(softmax) { return a * (da - dot); }

/* α (e^z - 1) at z <= 0. */
F(elu) { return NAME(select)(z < (REAL)0, NAME(expm1)(z) * alpha, z); }
D(elu) { return da * NAME(select)(a > (REAL)0, NAME(broadcast)(1), a + alpha); }

/* λ elu(z) with the α and λ of Klambauer et al., 2017. */
#define SELU_ALPHA ((REAL)1.6732632423543772848170429916717)
#define SELU_SCALE ((REAL)1.0507009873554804934193349852946)
F(selu) { return NAME(f_elu)(z, SELU_ALPHA) * SELU_SCALE; }
D(selu) { return da * NAME(select)(a > (REAL)0, NAME(broadcast)(SELU_SCALE), a + SELU_ALPHA * SELU_SCALE); }

/* gelu z Φ(z) and silu z σ(z) are both max(z, 0) - t S(-t), t = |z|, as S(z) = 1 - S(-z) for S = Φ and σ; the tail t S(-t)
 * is accurate however small, and 0 at infinity. Their derivatives are S(z) + z S'(z) = g at z < 0, 1 - g at z >= 0, with
 * g = S(-t) - t S'(t). */
F(gelu) {
    VEC t = NAME(at_most)(NAME(absolute)(z), GAUSS_END);
    return NAME(positive_part)(z) - NAME(times_gauss)(NAME(normal_tail)(t, 1), t);
}
D(gelu) {
    const REAL c = (REAL)0.39894228040143267794; /* 1 / √(2π) */
    VEC t = NAME(at_most)(NAME(absolute)(z), GAUSS_END);
    VEC g = NAME(times_gauss)(NAME(normal_tail)(t, 0) - c * t, t);
    return da * NAME(select)(z < (REAL)0, g, (REAL)1 - g);
}
F(silu) {
    VEC t = NAME(at_most)(NAME(absolute)(z), EXP_END);
    return NAME(positive_part)(z) - NAME(times_exp)(t, -t, (VEC){0}) / ((REAL)1 + NAME(exp)(-t));
}
D(silu) {
    VEC t = NAME(at_most)(NAME(absolute)(z), EXP_END), s = NAME(sigmoid)(-t);
    VEC g = s * ((REAL)1 - t * ((REAL)1 - s));
    return da * NAME(select)(z < (REAL)0, g, (REAL)1 - g);
}

/* log(1 + e^z), without overflow; σ(z) = 1 - e^{-a}. */
F(softplus) { return NAME(positive_part)(z) + NAME(log1p)(NAME(exp)(-NAME(absolute)(z))); }
D(softplus) { return da * -NAME(expm1)(-a); }

/* min(max(z + 3, 0), 6) / 6, as PyTorch has it. */
F(hard_sigmoid) { return NAME(at_most)(NAME(at_least)(z + (REAL)3, 0), 6) / (REAL)6; }
D(hard_sigmoid) { return (VEC)((NAME(absolute)(z) < (REAL)3) & (IVEC)(da / (REAL)6)); }

/* z / (1 + |z|); an infinity counts as the largest number. */
F(softsign) {
    z = NAME(at_most)(NAME(at_least)(z, -LARGEST_REAL), LARGEST_REAL);
    return z / ((REAL)1 + NAME(absolute)(z));
}
D(softsign) { return da / (((REAL)1 + NAME(absolute)(z)) * ((REAL)1 + NAME(absolute)(z))); }

F(exp) { return NAME(exp)(z); }
D(exp) { return da * a; }
#undef F
#undef D

/* Whether f' is in terms of z. */
INLINE int NAME(reads_z)(int activation) {
    return activation == CMLP_GELU || activation == CMLP_SILU || activation == CMLP_HARD_SIGMOID ||
           activation == CMLP_SOFTSIGN;
}

/* a_i = e^{z_i - m} / Σ_j e^{z_j - m} over n units, m the maximum. */
static void NAME(softmax)(ptrdiff_t n, const REAL *z, REAL *a) {
    REAL max = z[0], sum = 0;
    for (ptrdiff_t i = 1; i < n; i++) max = z[i] > max ? z[i] : max;
    VEC total = {0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        VEC e = NAME(f_softmax)(NAME(load_first)(z + i, n - i) - max, 0);
        if (n - i < LANES) e = (VEC)((IVEC)e & NAME(first_lanes)(n - i));
        total += e;
        NAME(store_first)(a + i, e, n - i);
    }
    sum = NAME(sum)(total);
    for (ptrdiff_t i = 0; i < n; i += LANES) NAME(store_first)(a + i, NAME(load)(a + i) / sum, n - i);
}

/* a (n,) = f(z (n,)); both in padded buffers. */
INLINE void NAME(activate)(int activation, ptrdiff_t n, REAL alpha, const REAL *z, REAL *a) {
    if (activation == CMLP_IDENTITY && a == z) return;
    if (activation == CMLP_SOFTMAX) {
        NAME(softmax)(n, z, a);
        return;
    }
#define LOOP(ID, name)                                                                 \
    case CMLP_##ID:                                                                    \
        for (ptrdiff_t i = 0; i < n; i += LANES)                                       \
            NAME(store_first)(a + i, NAME(f_##name)(NAME(load)(z + i), alpha), n - i); \
        break;
    switch (activation) { CMLP_ACTIVATIONS(LOOP) }
#undef LOOP
}

static void NAME(activate_slice)(int activation, ptrdiff_t n, double alpha, const void *z, void *a) {
    NAME(activate)(activation, n, (REAL)alpha, z, a);
}

/* δ from ∂ℓ/∂a for one vector of elements. */
INLINE VEC NAME(activation_backward)(const int activation, VEC z, VEC a, VEC da, REAL alpha, REAL dot) {
#define CASE(ID, name) \
    case CMLP_##ID: return NAME(d_##name)(z, a, da, alpha, dot);
    switch (activation) { CMLP_ACTIVATIONS(CASE) }
#undef CASE
    return da;
}

/* Whether f' is a few operations on a: then narrow layers have a short way back (operation.h). */
INLINE int NAME(is_simple)(int activation) {
    return activation == CMLP_IDENTITY || activation == CMLP_RELU || activation == CMLP_SIGMOID ||
           activation == CMLP_TANH;
}
INLINE VEC NAME(simple_backward)(int activation, VEC a, VEC da) {
    switch (activation) {
    case CMLP_RELU: return NAME(d_relu)(a, a, da, 0, 0);
    case CMLP_SIGMOID: return NAME(d_sigmoid)(a, a, da, 0, 0);
    case CMLP_TANH: return NAME(d_tanh)(a, a, da, 0, 0);
    default: return da;
    }
}

/* δ = J_fᵀ ∂ℓ/∂a into the error buffer and, padded with zeros, into d; scale · δ̃ into u. Returns the number of
 * clipped elements. ∂ℓ/∂a was stored a moment ago in pieces of 16 bytes or single elements: it is loaded in the same
 * pieces, which the processor can hand over from its store buffer. */
INLINE ptrdiff_t NAME(error_loop)(const cmlp_op *op, const REAL *z, const REAL *a, const REAL *da, REAL *dz, REAL psi,
                                  REAL scale, REAL *d, REAL *u, const int activation) {
    const ptrdiff_t n = op->n_out;
    const REAL dot = activation == CMLP_SOFTMAX ? NAME(dot)(n, a, da) : 0, alpha = (REAL)op->alpha;
    VEC clipped = {0};
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ptrdiff_t left = n - j;
        VEC delta = left == 1 ? (VEC){da[j]} : NAME(load_in_16s)(da + j);
        delta = NAME(activation_backward)(activation, NAME(load)(z + j), NAME(load)(a + j), delta, alpha, dot);
        if (left < LANES) delta = (VEC)((IVEC)delta & NAME(first_lanes)(left));
        const IVEC above = delta > psi, below = delta < -psi; /* false for NaN, which stays */
        VEC limited = NAME(select)(above, NAME(broadcast)(psi), delta);
        limited = NAME(select)(below, NAME(broadcast)(-psi), limited);
        clipped += (VEC)((above | below) & (IVEC)NAME(broadcast)(1));
        NAME(store_first)(dz + j, delta, left);
        NAME(store)(d + j, delta);
        NAME(store)(u + j, scale * limited);
    }
    return (ptrdiff_t)NAME(sum)(clipped);
}

static ptrdiff_t NAME(error_term)(const cmlp_op *op, const REAL *z, const REAL *a, const REAL *da, REAL *dz, REAL psi,
                                  REAL scale, REAL *d, REAL *u) {
#define LOOP(ID, name) \
    case CMLP_##ID: return NAME(error_loop)(op, z, a, da, dz, psi, scale, d, u, CMLP_##ID);
    switch (op->fused ? CMLP_IDENTITY : op->activation) { /* one loop for each: no choice per vector */
        CMLP_ACTIVATIONS(LOOP)
    }
#undef LOOP
    return 0;
}
