/* The losses. Each returns ℓ of one sample and writes weight · ∂ℓ/∂ŷ to error (n,), or weight · δ if it and the output
 * activation are a natural pair (net->fused). z, a: net input and activation of the output; y (n,): the targets, or NULL
 * for the class `label`. */
#define LOSS(name)                                                                                            \
    static double NAME(name)(const cmlp_net *net, const REAL *z, const REAL *a, const REAL *y, int64_t label, \
                             double weight, REAL *error)

/* ŷ moved into the closed domain of the logarithm, by one eps at most: [eps, 1 - eps], or [eps, inf) with
 * upper = inf. Outside [0, upper] the loss is not defined: NaN. */
INLINE REAL NAME(into_domain)(REAL a, REAL upper) {
    const REAL eps = DOUBLE_PRECISION ? (REAL)0x1p-52 : (REAL)0x1p-23;
    if (!(a >= 0 && a <= upper)) return NAN;
    return a < eps ? eps : a > upper - eps ? upper - eps : a;
}

/* ℓ = -Σ y_i log ŷ_i; y NULL: y is one-hot at `label`. Smoothing ε takes (1 - ε) y_i + ε/n for y_i. With softmax,
 * δ = ŷ Σy - y, where Σy = 1 but for rounding, and log ŷ_i comes from the logits where ŷ_i is too small:
 * log ŷ_i = z_i - m - log Σ e^{z_j - m}. */
LOSS(cross_entropy) {
    const double smoothing = net->loss_parameter;
    const ptrdiff_t n = net->n_outputs;
    const REAL kept = (REAL)(1 - smoothing), spread = (REAL)(smoothing / (double)n);
    double loss = 0, log_sum = NAN;
    REAL total = y ? 0 : 1;
    for (ptrdiff_t i = 0; y && i < n; i++) total += y[i];
    if (y) total = kept * total + (REAL)smoothing;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL y_i = kept * (y ? y[i] : (REAL)(i == label)) + spread;
        if (net->fused) {
            error[i] = (REAL)weight * (a[i] * total - y_i);
            if (y_i == 0) continue;
            if (a[i] > (REAL)1e-6) {
                loss -= (double)y_i * log((double)a[i]);
                continue;
            }
            if (log_sum != log_sum) {
                double max = z[0], sum = 0;
                for (ptrdiff_t j = 1; j < n; j++) max = z[j] > max ? (double)z[j] : max;
                for (ptrdiff_t j = 0; j < n; j++) sum += exp((double)z[j] - max);
                log_sum = max + log(sum);
            }
            loss -= (double)y_i * ((double)z[i] - log_sum);
        } else if (y_i == 0) {
            error[i] = 0;
        } else {
            const REAL a_i = NAME(into_domain)(a[i], INFINITY);
            error[i] = (REAL)weight * (-y_i / a_i);
            loss -= (double)y_i * log((double)a_i);
        }
    }
    return loss;
}

/* ℓ = -Σ y log ŷ + (1-y) log(1-ŷ). With sigmoid, from the logits: max(z, 0) - y z + log(1 + e^{-|z|}), δ = ŷ - y. */
LOSS(binary_cross_entropy) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const double y_i = y[i];
        if (net->fused) {
            const double z_i = z[i];
            error[i] = (REAL)weight * (a[i] - y[i]);
            loss += (z_i > 0 ? z_i : 0) - y_i * z_i + log1p(exp(-fabs(z_i)));
        } else {
            const REAL a_i = NAME(into_domain)(a[i], 1);
            error[i] = (REAL)weight * ((a_i - y[i]) / (a_i * (1 - a_i)));
            loss -= y_i * log((double)a_i) + (1 - y_i) * log1p(-(double)a_i);
        }
    }
    return loss;
}

LOSS(squared_error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const REAL difference = a[i] - y[i];
        error[i] = (REAL)weight * difference;
        loss += 0.5 * (double)difference * (double)difference;
    }
    return loss;
}

/* ℓ = Σ |ŷ - y|; derivative 0 at 0. */
LOSS(absolute_error) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const REAL r = a[i] - y[i];
        error[i] = (REAL)weight * (r > 0 ? 1 : r < 0 ? -1 : r);
        loss += fabs((double)r);
    }
    return loss;
}

/* ℓ = Σ ½ r² where |r| <= δ, δ (|r| - δ/2) elsewhere; r = ŷ - y. */
LOSS(huber) {
    const double delta = net->loss_parameter;
    const REAL limit = (REAL)delta;
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const REAL r = a[i] - y[i];
        const double size = fabs((double)r);
        error[i] = (REAL)weight * (r > limit ? limit : r < -limit ? -limit : r);
        loss += size <= delta ? 0.5 * size * size : delta * (size - 0.5 * delta);
    }
    return loss;
}

/* ℓ = Σ q (y - ŷ) where ŷ < y, (1 - q) (ŷ - y) elsewhere: the pinball loss; derivative 0 at ŷ = y. */
LOSS(quantile) {
    const double q = net->loss_parameter;
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const REAL r = a[i] - y[i];
        const double slope = r > 0 ? 1 - q : r < 0 ? -q : 0;
        error[i] = (REAL)weight * (REAL)slope;
        loss += r == 0 ? 0 : r != r ? (double)r : slope * (double)r;
    }
    return loss;
}

/* ℓ = Σ ŷ - y log ŷ. With exp, log ŷ = z and δ = ŷ - y. */
LOSS(poisson) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        if (net->fused) {
            error[i] = (REAL)weight * (a[i] - y[i]);
            loss += (double)a[i] - (double)y[i] * (double)z[i];
        } else {
            const REAL a_i = NAME(into_domain)(a[i], INFINITY);
            error[i] = (REAL)weight * (1 - y[i] / a_i);
            loss += (double)a[i] - (double)y[i] * log((double)a_i);
        }
    }
    return loss;
}

/* ℓ = Σ max(0, 1 - s ŷ), s = 1 where y > 0 and -1 elsewhere; y NULL: s = 1 at `label` only. */
LOSS(hinge) {
    double loss = 0;
    for (ptrdiff_t i = 0; i < net->n_outputs; i++) {
        const REAL sign = (y ? y[i] > 0 : i == label) ? 1 : -1, margin = sign * a[i];
        error[i] = margin < 1 ? (REAL)weight * -sign : 0;
        loss += margin >= 1 ? 0 : 1 - (double)margin;
    }
    return loss;
}

#undef LOSS

static double NAME(loss)(const cmlp_net *net, const void *z, const void *a, const void *y, int64_t label, double weight,
                         void *error) {
#define CASE(ID, name) \
    case CMLP_##ID: return NAME(name)(net, z, a, y, label, weight, error);
    switch (net->loss) { CMLP_LOSSES(CASE) }
#undef CASE
    return NAN;
}
