/* The losses. One is a sum over the outputs but for cross-entropy of a softmax: NAME(huber)(net, z, a, y, slope) is
 * output i's term of ℓ, given its net input, its activation ŷ_i and its target, and *slope becomes ∂ℓ/∂ŷ_i, or δ_i if
 * the loss and the output activation are a natural pair (net->fused). A subnormal one becomes 0: that of a class that is
 * all but excluded would make every product with it on the way back a hundred times as slow. */
#define TERM(name) INLINE double NAME(name)(const cmlp_net *net, REAL z, REAL a, REAL y, REAL *slope)

/* ŷ moved into the closed domain of the logarithm, by one eps at most: [eps, 1 - eps], or [eps, inf) with
 * upper = inf. Outside [0, upper] the loss is not defined: NaN. */
INLINE REAL NAME(into_domain)(REAL a, REAL upper) {
    const REAL eps = DOUBLE_PRECISION ? (REAL)0x1p-52 : (REAL)0x1p-23;
    if (!(a >= 0 && a <= upper)) return NAN;
    return a < eps ? eps : a > upper - eps ? upper - eps : a;
}

/* Label smoothing ε takes (1 - ε) y_i + ε/n for y_i. */
INLINE REAL NAME(smoothed)(const cmlp_net *net, REAL y) {
    const double smoothing = net->loss_parameter;
    return (REAL)(1 - smoothing) * y + (REAL)(smoothing / (double)net->n_outputs);
}

/* ℓ = -Σ y_i log ŷ_i. */
TERM(cross_entropy) {
    y = NAME(smoothed)(net, y);
    *slope = 0;
    if (y == 0) return 0;
    a = NAME(into_domain)(a, INFINITY);
    *slope = -y / a;
    return -((double)y * log((double)a));
}

/* ℓ = -Σ y log ŷ + (1-y) log(1-ŷ). With sigmoid, from the logits: max(z, 0) - y z + log(1 + e^{-|z|}), δ = ŷ - y. */
TERM(binary_cross_entropy) {
    const double y_i = y, z_i = z;
    if (net->fused) {
        *slope = a - y;
        return (z_i > 0 ? z_i : 0) - y_i * z_i + log1p(exp(-fabs(z_i)));
    }
    a = NAME(into_domain)(a, 1);
    *slope = (a - y) / (a * (1 - a));
    return -(y_i * log((double)a) + (1 - y_i) * log1p(-(double)a));
}

TERM(squared_error) {
    const REAL difference = a - y;
    *slope = difference;
    return 0.5 * (double)difference * (double)difference;
}

/* ℓ = Σ |ŷ - y|; derivative 0 at 0. */
TERM(absolute_error) {
    const REAL r = a - y;
    *slope = r > 0 ? 1 : r < 0 ? -1 : r;
    return fabs((double)r);
}

/* ℓ = Σ ½ r² where |r| <= δ, δ (|r| - δ/2) elsewhere; r = ŷ - y. */
TERM(huber) {
    const double delta = net->loss_parameter;
    const REAL limit = (REAL)delta, r = a - y;
    const double size = fabs((double)r);
    *slope = r > limit ? limit : r < -limit ? -limit : r;
    return size <= delta ? 0.5 * size * size : delta * (size - 0.5 * delta);
}

/* ℓ = Σ q (y - ŷ) where ŷ < y, (1 - q) (ŷ - y) elsewhere: the pinball loss; derivative 0 at ŷ = y. */
TERM(quantile) {
    const double q = net->loss_parameter;
    const REAL r = a - y;
    const double side = r > 0 ? 1 - q : r < 0 ? -q : 0;
    *slope = (REAL)side;
    return r == 0 ? 0 : r != r ? (double)r : side * (double)r;
}

/* ℓ = Σ ŷ - y log ŷ. With exp, log ŷ = z and δ = ŷ - y. */
TERM(poisson) {
    if (net->fused) {
        *slope = a - y;
        return (double)a - (double)y * (double)z;
    }
    const REAL inside = NAME(into_domain)(a, INFINITY);
    *slope = 1 - y / inside;
    return (double)a - (double)y * log((double)inside);
}

/* ℓ = Σ max(0, 1 - s ŷ), s = 1 where y > 0 and -1 elsewhere. */
TERM(hinge) {
    const REAL sign = y > 0 ? 1 : -1, margin = sign * a;
    *slope = margin < 1 ? -sign : 0;
    return margin >= 1 ? 0 : 1 - (double)margin;
}
#undef TERM

/* log ŷ_i of a softmax, from the logits where ŷ_i is too small: z_i - m - log Σ e^{z_j - m}, m the maximum; outputs lie
 * `stride` apart. */
static double NAME(log_of_softmax)(ptrdiff_t n, ptrdiff_t stride, const REAL *z, const REAL *a, ptrdiff_t i) {
    if (a[i * stride] > (REAL)1e-6) return log((double)a[i * stride]);
    double max = z[0], sum = 0;
    for (ptrdiff_t j = 1; j < n; j++) max = z[j * stride] > max ? (double)z[j * stride] : max;
    for (ptrdiff_t j = 0; j < n; j++) sum += exp((double)z[j * stride] - max);
    return (double)z[i * stride] - (max + log(sum));
}

/* Cross-entropy of a softmax: δ = ŷ Σy - y, where Σy = 1 but for rounding. */
static double NAME(softmax_loss)(const cmlp_net *net, const REAL *z, const REAL *a, const REAL *y, int64_t label,
                                 REAL weight, REAL *error) {
    const ptrdiff_t n = net->n_outputs;
    double loss = 0;
    REAL total = y ? 0 : 1;
    for (ptrdiff_t i = 0; y && i < n; i++) total += y[i];
    if (y) total = (REAL)(1 - net->loss_parameter) * total + (REAL)net->loss_parameter;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL y_i = NAME(smoothed)(net, y ? y[i] : (REAL)(i == label));
        error[i] = NAME(flushed)(weight * (a[i] * total - y_i));
        if (y_i != 0) loss -= (double)y_i * NAME(log_of_softmax)(n, 1, z, a, i);
    }
    return loss;
}

/* Returns ℓ of one sample and writes weight · ∂ℓ/∂ŷ (or δ) to error (n,). z, a: net input and activation of the output;
 * y (n,): the targets, or NULL: one-hot at the class `label`. */
static double NAME(loss)(const cmlp_net *net, const void *z, const void *a, const void *y, int64_t label, double weight,
                         void *error) {
    const REAL *z_i = z, *a_i = a, *y_i = y, w = (REAL)weight;
    REAL *e = error;
    double loss = 0;
    if (net->loss == CMLP_CROSS_ENTROPY && net->fused) return NAME(softmax_loss)(net, z, a, y, label, w, error);
#define LOOP(ID, name)                                                                         \
    case CMLP_##ID:                                                                            \
        for (ptrdiff_t i = 0; i < net->n_outputs; i++) {                                       \
            loss += NAME(name)(net, z_i[i], a_i[i], y_i ? y_i[i] : (REAL)(i == label), e + i); \
            e[i] *= w;                                                                         \
        }                                                                                      \
        break;
    switch (net->loss) { CMLP_LOSSES(LOOP) }
#undef LOOP
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) e[i] = NAME(flushed)(e[i]);
    return loss;
}
