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

/* Most hidden units of the per-sample SGD that looks one sample ahead; see ahead.h. */
#define CMLP_MOST_AHEAD 16

/* Rows of a batch that run through the network at once, per thread: enough to reuse W from the caches, few enough that the
 * activations stay there too. */
#define CMLP_ROWS_AT_ONCE 64

/* A product of many rows packs two vectors, at most 16 elements each, of so many rows of its second factor (batch.h). That is
 * too much for a thread's stack, which may have 64 KiB in all: the workspace has room for CMLP_PACK elements a thread. */
#define CMLP_PACKED 256
#define CMLP_PACK (2 * CMLP_PACKED * 16)

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

/* Where gradients go: values += scale · in δ̃ᵀ (and its bias), δ̃ = δ clipped to [-ψ, ψ]. With values = params and
 * scale = -γ this is the per-sample update, in one pass over W; else it adds a gradient. */
typedef struct {
    void *values;
    double scale, clip_delta;
} cmlp_target;

/* The samples of one call: row c of X (M, n_inputs) and of Y (M, n_outputs), or labels (M,); weights (M,) or NULL; n of
 * them visited in this order, or as they are if it is NULL. */
typedef struct {
    const char *X, *Y;
    const int64_t *labels, *order;
    const double *weights;
    ptrdiff_t n, n_rows; /* visits; rows of X */
    int checked;         /* else plain per-sample SGD looks for NaN and infinities in x before it learns from it */
} cmlp_samples;

/* γ_t: one rate per step, or a single one; first_step: steps made before. */
typedef struct {
    const double *values;
    ptrdiff_t n, first_step;
} cmlp_rates;

/* What a pass did: Σ s_c ℓ_c, Σ s_c of those decided right, the number of clipped δ, and the position of the first loss
 * that was not finite, or -1. */
typedef struct {
    double loss, correct;
    ptrdiff_t n_clipped, bad;
} cmlp_result;

/* Rows of a batch on their way through the network: n of them, from the `first` of those at work on. Rows first: value u
 * of row r lies r · stride + u elements behind value 0 of row 0 in the activations and errors; x and the deltas have
 * strides of their own, and x is the samples themselves or an own copy. Units first (units_first.h): it lies
 * u · stride + r behind, also in x; the deltas are those of all rows at work, operation by operation. pack: of the thread
 * at work, CMLP_PACK elements for 16 rows or more. */
typedef struct {
    int units_first;
    ptrdiff_t n, first, x_stride, stride, deltas_stride;
    char *x, *activations, *errors, *deltas, *pack;
} cmlp_rows;

/* The targets of such rows, row by row: where each lies, or (y NULL) its class, and s_c. */
typedef struct {
    const void *const *y;
    const int64_t *labels;
    const double *weights;
} cmlp_targets;

/* The kernels, X(type, name, parameters); the files named say what each does. Numbers behind `void *` are float or
 * double, as the table's dtype says. None allocates, and none reads outside x (n_in,) and y (n_out,); the own buffers
 * (parameters, activations, errors, scratch) end with CMLP_ALIGN bytes of padding that vector loads may touch. */
#define CMLP_KERNELS(X)                                                                                              \
    /* operation.h: one operation for one sample */                                                                  \
    X(void, forward, (const cmlp_op *op, const void *params, const void *x, void *activations))                      \
    X(ptrdiff_t, backward,                                                                                           \
      (const cmlp_op *op, const void *params, const cmlp_target *to, const void *x, const void *activations,         \
       void *errors, void *scratch))                                                                                 \
    /* losses.h */                                                                                                   \
    X(double, loss,                                                                                                  \
      (const cmlp_net *net, const void *z, const void *a, const void *y, int64_t label, double weight, void *error)) \
    /* activations.h: f over a slice */                                                                              \
    X(void, activate_slice, (int activation, ptrdiff_t n, double alpha, const void *z, void *a))                     \
    /* block.h: per-sample SGD in blocks, for an operation that reads x */                                           \
    X(int, block_turn,                                                                                               \
      (const cmlp_op *op, void *params, const void *const *x_before, const void *updates, const void *const *x_next, \
       void *products, void *gram))                                                                                  \
    X(void, block_forward,                                                                                           \
      (const cmlp_op *op, int t, const void *products, const void *gram, const void *updates, void *activations))    \
    X(ptrdiff_t, block_backward,                                                                                     \
      (const cmlp_op *op, int t, const cmlp_target *to, const void *activations, void *errors, void *scratch,        \
       void *updates))                                                                                               \
    /* chain.h: a whole sample of plain per-sample SGD, for a chain of dense layers */                               \
    X(double, chain,                                                                                                 \
      (const cmlp_op *ops, int n, const cmlp_net *net, const cmlp_target *to, const cmlp_samples *s, ptrdiff_t c,    \
       void *activations, void *errors, void *scratch, ptrdiff_t *n_clipped))                                        \
    /* ahead.h: the same for all samples of a call, for few hidden units and one output */                           \
    X(void, ahead,                                                                                                   \
      (const cmlp_op *ops, const cmlp_net *net, void *params, const cmlp_samples *s, const cmlp_rates *rates,        \
       const cmlp_update *update, void *activations, void *errors, void *scratch, cmlp_result *result))              \
    /* batch.h: one operation for many samples; the way back in two parts, by rows and by inputs of a dense layer */ \
    X(void, batch_forward, (const cmlp_op *op, const void *params, const cmlp_rows *rows))                           \
    X(ptrdiff_t, batch_errors,                                                                                       \
      (const cmlp_op *op, const void *params, const cmlp_target *to, const cmlp_rows *rows, void *scratch))          \
    X(void, batch_gradient,                                                                                          \
      (const cmlp_op *op, void *gradient, const cmlp_rows *rows, ptrdiff_t from, ptrdiff_t to, int accumulate))      \
    X(void, units_first_inputs, (const cmlp_rows *rows, ptrdiff_t n_inputs, const void *const *x, const void *end))  \
    X(void, units_first_losses,                                                                                      \
      (const cmlp_net *net, const cmlp_rows *rows, ptrdiff_t z, const cmlp_targets *targets, double *losses))        \
    X(void, units_first_outputs, (const cmlp_rows *rows, ptrdiff_t n_outputs, ptrdiff_t output, void *out))          \
    /* step.h: step t of all (from 0), as the rule has it, and what it does to n parameters from `at` on */          \
    X(void, prepare_step, (cmlp_step * s, ptrdiff_t t))                                                              \
    X(void, step, (const cmlp_step *s, const cmlp_vectors *v, ptrdiff_t at, ptrdiff_t n))                            \
    /* flat.h */                                                                                                     \
    X(void, clip, (ptrdiff_t n, void *gradient, double clip))                                                        \
    X(double, sum_of_squares, (ptrdiff_t n, const void *values))                                                     \
    X(ptrdiff_t, first_nonfinite, (ptrdiff_t n, const void *values))                                                 \
    X(void, add_signs, (ptrdiff_t n, void *gradient, const void *weights, double scale))                             \
    X(void, limit_norms, (const cmlp_op *op, void *params, double limit, ptrdiff_t from, ptrdiff_t to))              \
    X(void, average, (ptrdiff_t n, void *average, const void *weights, double decay))                                \
    X(void, drop, (ptrdiff_t n, ptrdiff_t stride, uint64_t key, double rate, void *values))                          \
    X(void, standardize, (ptrdiff_t n, const void *x, const void *mean, const void *scale, void *out))               \
    X(int, learn_scale,                                                                                              \
      (ptrdiff_t n, const void *x, double *count, double *mean, double *squares, void *shift, void *scale))

#define CMLP_POINTER(type, name, parameters) type(*name) parameters;
typedef struct {
    CMLP_KERNELS(CMLP_POINTER)
} cmlp_kernels;

enum { CMLP_BASELINE, CMLP_AVX2, CMLP_AVX512, CMLP_N_LEVELS };

/* The highest level this processor can run. */
int cmlp_highest_level(void);

/* The table of a level the processor has; dtype 0: float, 1: double. */
const cmlp_kernels *cmlp_table(int level, int is_double);

#endif
