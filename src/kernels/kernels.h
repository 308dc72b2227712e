/* The border between the Cython core and the C kernels: operations, and one table of functions per
 * (instruction-set level, dtype). Symbols are those of the specification: z_k = W_kᵀ a_{k-1} + b_k, a_k = f_k(z_k),
 * δ_k = ∂ℓ/∂z_k, ψ the clipping threshold. */
#ifndef CMLP_KERNELS_H
#define CMLP_KERNELS_H

#include "kernels/ids.h"
#include "kernels/structs.h"

/* Every slot, row and bias is padded to this many bytes: the widest vector register, and a cache line. */
#define CMLP_ALIGN 64

/* Samples per block of the per-sample SGD in blocks; see block.h. */
#define CMLP_BLOCK 4

/* Rows of a batch that run through the network at once, per thread: enough to reuse W from the caches, few enough that the
 * activations stay there too. */
#define CMLP_ROWS_AT_ONCE 64

/* The output function of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014, with
 * the constants of Vigna's public-domain splitmix64.c). */
static inline uint64_t cmlp_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#define CMLP_GOLDEN_GAMMA 0x9e3779b97f4a7c15u /* SplitMix64's increment */

/* The key of the mask of one operation for one sample: a hash of the seed and of where it is, so that a mask is the
 * same whichever thread asks for it, and whenever. */
static inline uint64_t cmlp_mask_key(uint64_t seed, uint64_t step, uint64_t position, uint64_t op) {
    uint64_t key = cmlp_mix(seed + CMLP_GOLDEN_GAMMA * (step + 1));
    key = cmlp_mix(key + CMLP_GOLDEN_GAMMA * (position + 1));
    return cmlp_mix(key + CMLP_GOLDEN_GAMMA * (op + 1));
}

/* One step: g ← scale·g + decay·w, then the rule. */
typedef struct {
    const cmlp_update *update;
    double scale, decay;
    double rate, eps; /* γ and ε, with the bias corrections in them that a rule has */
    double shrink;    /* decoupled weight decay, γ λ */
    int loss_rose;    /* since the last step (iRPROP+) */
} cmlp_step;

/* The vectors of the parameters' layout that a step reads and writes, as bytes; NULL: not needed. */
typedef struct {
    char *params, *gradient;
    char *average; /* of the parameters over the steps */
    char *slots[CMLP_N_SLOTS];
} cmlp_vectors;

/* `real` below is float or double, as the table's dtype says. No function allocates, and none reads outside
 * x (n_in,) and y (n_out,); the own buffers (parameters, activations, errors, scratch) end with CMLP_ALIGN bytes of
 * padding that vector loads may touch. */
typedef struct {
    /* Runs one operation forward. */
    void (*forward)(const cmlp_op *op, const void *params, const void *x, void *activations);

    /* Runs one operation backward: δ from ∂ℓ/∂out, then ∂ℓ/∂in with the weights as they are and the unclipped δ,
     * then target += scale · in δ̃ᵀ (and its bias), δ̃ = δ clipped to [-ψ, ψ]. With target = params and scale = -γ
     * this is the per-sample update, in one pass over W; with target = a gradient buffer it adds a gradient.
     * scratch: two padded vectors as wide as the widest layer. Returns how many elements of δ were clipped. */
    ptrdiff_t (*backward)(const cmlp_op *op, const void *params, void *target, double scale, double clip_delta,
                          const void *x, const void *activations, void *errors, void *scratch);

    /* Returns ℓ and writes weight · δ (fused) or weight · ∂ℓ/∂ŷ to error (n,). y (n,) targets, or NULL: the class
     * is `label`. parameter: δ of huber, q of quantile, the label smoothing of cross_entropy. */
    double (*loss)(int loss, double parameter, int fused, ptrdiff_t n, const void *z, const void *a, const void *y,
                   int64_t label, double weight, void *error);

    /* f(z) over a slice. */
    void (*activate)(int activation, ptrdiff_t n, double alpha, const void *z, void *a);

    /* gradient ← clipped elementwise to [-clip, clip]. */
    void (*clip)(ptrdiff_t n, void *gradient, double clip);

    /* Σ values², in double. */
    double (*sum_of_squares)(ptrdiff_t n, const void *values);

    /* Step t of all (from 0) as the rule has it: its bias corrections (steps.h). */
    void (*prepare_step)(cmlp_step *s, ptrdiff_t t);

    /* The step of n parameters from `at` on. */
    void (*step)(const cmlp_step *s, const cmlp_vectors *v, ptrdiff_t at, ptrdiff_t n);

    /* Index of the first NaN or infinity, or -1. */
    ptrdiff_t (*first_nonfinite)(ptrdiff_t n, const void *values);

    /* Per-sample SGD in blocks, for an operation that reads x (block.h). x_before, x_next: CMLP_BLOCK pointers to
     * samples each, or NULL. Makes the updates of the samples before, then products and Gram matrix of the next. */
    void (*block_turn)(const cmlp_op *op, void *params, const void *const *x_before, const void *updates,
                       const void *const *x_next, void *products, void *gram);

    /* z and a of the block's sample t, from the products and the updates of samples 0..t-1. */
    void (*block_forward)(const cmlp_op *op, int t, const void *products, const void *gram, const void *updates,
                          void *activations);

    /* updates[t] = scale · δ̃ of sample t; returns how many elements of δ were clipped. */
    ptrdiff_t (*block_backward)(const cmlp_op *op, int t, double scale, double clip_delta, const void *activations,
                                void *errors, void *scratch, void *updates);

    /* Forward for `rows` rows at once, by matrix products (batch.h): row r of x, of the activations, errors and deltas
     * starts r · (its stride) elements behind row 0. x here is an own copy, padded like the rest. */
    void (*batch_forward)(const cmlp_op *op, const void *params, ptrdiff_t rows, const void *x, ptrdiff_t x_stride,
                          void *activations, ptrdiff_t stride);

    /* Backward for these rows, in two parts that can be divided among threads: by rows, the errors and
     * scale · δ̃ into deltas (returns how many elements were clipped; scratch: two padded vectors as wide as the widest
     * layer); by inputs from..to-1 of a dense layer, gradient = or += inᵀ · deltas. */
    ptrdiff_t (*batch_errors)(const cmlp_op *op, const void *params, double scale, double clip_delta, ptrdiff_t rows,
                              const void *activations, void *errors, ptrdiff_t stride, void *deltas,
                              ptrdiff_t deltas_stride, void *scratch);
    void (*batch_gradient)(const cmlp_op *op, void *gradient, ptrdiff_t rows, const void *x, ptrdiff_t x_stride,
                           const void *activations, ptrdiff_t stride, const void *deltas, ptrdiff_t deltas_stride,
                           ptrdiff_t from, ptrdiff_t to, int accumulate);

    /* g ← g + scale · sign(w), a subgradient of scale ‖w‖₁. */
    void (*add_signs)(ptrdiff_t n, void *gradient, const void *weights, double scale);

    /* w ← w c / ‖w‖₂ for the incoming weights w of units from..to-1 whose norm is above c = limit. */
    void (*limit_norms)(const cmlp_op *op, void *params, double limit, ptrdiff_t from, ptrdiff_t to);

    /* average ← decay · average + (1 - decay) · w. */
    void (*average)(ptrdiff_t n, void *average, const void *weights, double decay);

    /* values_i ← values_i m_i / (1 - rate), where m_i is 0 with probability `rate`, else 1: the (i/2)-th output of
     * SplitMix64 started from `key` decides about elements i and i + 1 (i even), its lower half about the first. */
    void (*drop)(ptrdiff_t n, uint64_t key, double rate, void *values);

    /* out = (x - mean) ⊙ scale, without padding. */
    void (*standardize)(ptrdiff_t n, const void *x, const void *mean, const void *scale, void *out);

    /* Takes x (n,) into the count, mean and sum of squared deviations of every element (cmlp/scaling.py), and sets shift
     * and scale to μ and 1/σ for `standardize`. Returns whether all sums are finite. */
    int (*learn_scale)(ptrdiff_t n, const void *x, double *count, double *mean, double *squares, void *shift,
                       void *scale);
} cmlp_kernels;

enum { CMLP_BASELINE, CMLP_AVX2, CMLP_AVX512, CMLP_N_LEVELS };

/* The highest level this processor can run. */
int cmlp_highest_level(void);

/* The table of a level the processor has; dtype 0: float, 1: double. */
const cmlp_kernels *cmlp_table(int level, int is_double);

#endif
