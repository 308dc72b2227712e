/* One step of each rule over a slice of the parameter vector, in place; cmlp/optimizers.py has the formulas and their
 * sources. Padding stays zero: where w, g and the state are 0, every rule leaves w at 0.
 *
 * NAME(step_sgd)(s, v, at, n) is the rule sgd for n parameters from `at` on. */
#define RULE(name) INLINE void NAME(step_##name)(const cmlp_step *s, const cmlp_vectors *v, ptrdiff_t at, ptrdiff_t n)
#define FROM(vector) ((REAL *)v->vector + at)
#define SLOT(ID) FROM(slots[CMLP_##ID])

/* x, or 0 where it is subnormal: arithmetic with those takes a hundred times as long, and a moment that decays would stay
 * there for ever, as 0.9 · 2⁻¹⁴⁹ is rounded to 2⁻¹⁴⁹. No weight is so small that it matters. */
INLINE REAL NAME(normal)(REAL x) { return (x < SMALLEST_REAL) & (x > -SMALLEST_REAL) ? 0 : x; }

/* v ← μ v + g; w ← w − γ v, or with Nesterov w ← w − γ (g + μ v). v NULL: μ = 0. */
static void NAME(sgd_loop)(ptrdiff_t n, const cmlp_step *s, REAL *restrict w, const REAL *restrict g,
                           REAL *restrict v) {
    const REAL scale = (REAL)s->scale, gamma = (REAL)s->rate, mu = (REAL)s->update->momentum, lambda = (REAL)s->decay;
    const int nesterov = s->update->nesterov;
    if (!v) {
        for (ptrdiff_t i = 0; i < n; i++) w[i] -= gamma * (scale * g[i] + lambda * w[i]);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL g_i = scale * g[i] + lambda * w[i];
        v[i] = NAME(normal)(mu * v[i] + g_i);
        w[i] -= gamma * (nesterov ? g_i + mu * v[i] : v[i]);
    }
}

RULE(sgd) { NAME(sgd_loop)(n, s, FROM(params), FROM(gradient), s->update->momentum != 0 ? SLOT(VELOCITY) : NULL); }

/* m ← β₁ m + (1-β₁) g; v ← β₂ v + (1-β₂) g²; w ← (1 − shrink) w − γ m / (√v + ε), where the caller has put the bias
 * corrections into γ and ε. AMSGrad: v̂ ← max(v̂, v) takes the place of v in the step. */
INLINE void NAME(adam_loop)(ptrdiff_t n, const cmlp_step *s, REAL *restrict w, const REAL *restrict g, REAL *restrict m,
                            REAL *restrict v, REAL *restrict largest, const int amsgrad) {
    const REAL scale = (REAL)s->scale, gamma = (REAL)s->rate, lambda = (REAL)s->decay, eps = (REAL)s->eps;
    const REAL b1 = (REAL)s->update->beta1, b2 = (REAL)s->update->beta2, c1 = (REAL)(1 - s->update->beta1),
               c2 = (REAL)(1 - s->update->beta2);
    const REAL keep = (REAL)(1 - s->shrink);
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL g_i = scale * g[i] + lambda * w[i];
        m[i] = NAME(normal)(b1 * m[i] + c1 * g_i);
        v[i] = NAME(normal)(b2 * v[i] + c2 * (g_i * g_i));
        if (amsgrad) largest[i] = v[i] > largest[i] ? v[i] : largest[i];
        w[i] = keep * w[i] - gamma * m[i] / (ROOT(amsgrad ? largest[i] : v[i]) + eps);
    }
}

RULE(adam) {
    REAL *w = FROM(params), *g = FROM(gradient), *mean = SLOT(VELOCITY), *squares = SLOT(SQUARES);
    if (s->update->amsgrad)
        NAME(adam_loop)(n, s, w, g, mean, squares, SLOT(LARGEST_SQUARES), 1);
    else
        NAME(adam_loop)(n, s, w, g, mean, squares, NULL, 0);
}

/* The bias corrections m / (1 - β₁ᵗ⁺¹) and √(v / (1 - β₂ᵗ⁺¹)), as factors of γ and ε; t counts from 0. */
static void NAME(prepare_step)(cmlp_step *s, ptrdiff_t t) {
    const cmlp_update *u = s->update;
    if (u->rule != CMLP_ADAM) return;
    const double c1 = 1 - pow(u->beta1, (double)(t + 1)), c2 = sqrt(1 - pow(u->beta2, (double)(t + 1)));
    s->rate *= c2 / c1;
    if (!u->eps_hat) s->eps *= c2;
}

/* v ← β v + (1-β) g², the step's g / (√v + ε) with or without momentum; centered: √(v − ḡ²), ḡ ← β ḡ + (1-β) g. */
INLINE void NAME(rmsprop_loop)(ptrdiff_t n, const cmlp_step *s, REAL *restrict w, const REAL *restrict g,
                               REAL *restrict v, REAL *restrict velocity, REAL *restrict mean, const int momentum,
                               const int centered) {
    const REAL scale = (REAL)s->scale, gamma = (REAL)s->rate, lambda = (REAL)s->decay, eps = (REAL)s->eps;
    const REAL b = (REAL)s->update->beta2, c = (REAL)(1 - s->update->beta2), mu = (REAL)s->update->momentum;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL g_i = scale * g[i] + lambda * w[i];
        v[i] = NAME(normal)(b * v[i] + c * (g_i * g_i));
        REAL variance = v[i];
        if (centered) {
            mean[i] = NAME(normal)(b * mean[i] + c * g_i);
            variance -= mean[i] * mean[i];
            variance = variance < 0 ? 0 : variance; /* below 0 by rounding only; NaN stays NaN */
        }
        REAL change = g_i / (ROOT(variance) + eps);
        if (momentum) change = velocity[i] = NAME(normal)(mu * velocity[i] + change);
        w[i] -= gamma * change;
    }
}

RULE(rmsprop) {
    REAL *w = FROM(params), *g = FROM(gradient), *squares = SLOT(SQUARES);
    if (s->update->momentum != 0 && s->update->centered)
        NAME(rmsprop_loop)(n, s, w, g, squares, SLOT(VELOCITY), SLOT(MEANS), 1, 1);
    else if (s->update->momentum != 0)
        NAME(rmsprop_loop)(n, s, w, g, squares, SLOT(VELOCITY), NULL, 1, 0);
    else if (s->update->centered)
        NAME(rmsprop_loop)(n, s, w, g, squares, NULL, SLOT(MEANS), 0, 1);
    else
        NAME(rmsprop_loop)(n, s, w, g, squares, NULL, NULL, 0, 0);
}

/* v ← v + g²; w ← w − γ g / (√v + ε). */
static void NAME(adagrad_loop)(ptrdiff_t n, const cmlp_step *s, REAL *restrict w, const REAL *restrict g,
                               REAL *restrict v) {
    const REAL scale = (REAL)s->scale, gamma = (REAL)s->rate, lambda = (REAL)s->decay, eps = (REAL)s->eps;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL g_i = scale * g[i] + lambda * w[i];
        v[i] += g_i * g_i;
        w[i] -= gamma * g_i / (ROOT(v[i]) + eps);
    }
}

RULE(adagrad) { NAME(adagrad_loop)(n, s, FROM(params), FROM(gradient), SLOT(SQUARES)); }

/* iRPROP+: Δ grows by η⁺ where g keeps its sign and shrinks by η⁻ where it changes; w ← w − sign(g) Δ. Where the sign
 * changed no step is made, or the last one is taken back if the loss has risen, and g counts as 0 for the next step.
 * The last step was −sign(g') Δ there, with g' the last gradient and Δ as it is: it need not be kept. */
static void NAME(rprop_loop)(ptrdiff_t n, const cmlp_step *s, REAL *restrict w, const REAL *restrict g,
                             REAL *restrict last, REAL *restrict size) {
    const REAL up = (REAL)s->update->increase, down = (REAL)s->update->decrease, least = (REAL)s->update->least,
               most = (REAL)s->update->most;
    const REAL back = s->loss_rose ? 1 : 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL sign = (REAL)(g[i] > 0) - (REAL)(g[i] < 0), before = (REAL)(last[i] > 0) - (REAL)(last[i] < 0);
        const REAL agree = sign * before, old = size[i];
        const REAL grown = old * up > most ? most : old * up, shrunk = old * down < least ? least : old * down;
        const REAL now = agree > 0 ? grown : agree < 0 ? shrunk : old;
        size[i] = now;
        w[i] += agree < 0 ? back * before * old : -sign * now;
        last[i] = agree < 0 ? 0 : sign; /* of the last gradient, its sign is all that counts */
    }
}

RULE(rprop) { NAME(rprop_loop)(n, s, FROM(params), FROM(gradient), SLOT(LAST_SIGNS), SLOT(STEP_SIZES)); }

RULE(none) {}
#undef RULE
#undef FROM
#undef SLOT

static void NAME(step)(const cmlp_step *s, const cmlp_vectors *v, ptrdiff_t at, ptrdiff_t n) {
#define CASE(ID, name) \
    case CMLP_##ID: NAME(step_##name)(s, v, at, n); break;
    switch (s->update->rule) { CMLP_RULES(CASE) }
#undef CASE
}
