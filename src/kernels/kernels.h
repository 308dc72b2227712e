/* The border between the Cython core and the C kernels: operations, and one table of functions per
 * (instruction-set level, dtype). Symbols are those of the specification: z_k = W_kᵀ a_{k-1} + b_k, a_k = f_k(z_k),
 * δ_k = ∂ℓ/∂z_k, ψ the clipping threshold. */
#ifndef CMLP_KERNELS_H
#define CMLP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Every slot, row and bias is padded to this many bytes: the widest vector register, and a cache line. */
#define CMLP_ALIGN 64

/* cmlp/activations.py and cmlp/losses.py give these their names. */
enum { CMLP_IDENTITY, CMLP_RELU, CMLP_LEAKY_RELU, CMLP_SIGMOID, CMLP_TANH, CMLP_SOFTMAX };
enum { CMLP_SQUARED_ERROR, CMLP_CROSS_ENTROPY, CMLP_BINARY_CROSS_ENTROPY };

enum { CMLP_DENSE, CMLP_ACTIVATION, CMLP_ADD };         /* kind */
enum { CMLP_ROWS, CMLP_COLUMNS };                       /* layout */
enum { CMLP_NOT_WANTED, CMLP_ASSIGN, CMLP_ACCUMULATE }; /* input_gradient */

/* One operation of a program. Offsets count elements, not bytes. A slice of the activation buffer holds a value
 * (z or a); the same slice of the error buffer holds ∂ℓ/∂(that value). */
typedef struct {
    int kind;           /* dense: out = f(Wᵀ in + b); activation: out = f(in); add: out = in */
    int activation;     /* f */
    int layout;         /* rows: W as (n_in, ld); columns: W as (n_out, ld), for wide layers into few units */
    int accumulate;     /* add to out instead of assigning (dense: only with the identity) */
    int input_gradient; /* is ∂ℓ/∂in wanted, and does it assign or add to what another reader of `in` left there */
    int fused;          /* the loss wrote δ itself: do not multiply by f' again */
    ptrdiff_t n_in, n_out;
    ptrdiff_t in;                  /* slice (n_in,), or -1: the network's input x */
    ptrdiff_t z;                   /* slice (n_out,): the net input; equal to `out` when f is the identity */
    ptrdiff_t out;                 /* slice (n_out,): the activation */
    ptrdiff_t weights, ld, biases; /* offsets into the parameter vector; biases -1: none */
    double alpha;                  /* slope of leaky_relu at z <= 0 */
} cmlp_op;

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
     * is `label`. */
    double (*loss)(int loss, int fused, ptrdiff_t n, const void *z, const void *a, const void *y, int64_t label,
                   double weight, void *error);

    /* f(z) over a slice. */
    void (*activate)(int activation, ptrdiff_t n, double alpha, const void *z, void *a);

    /* gradient ← clipped elementwise to [-clip, clip]. */
    void (*clip)(ptrdiff_t n, void *gradient, double clip);

    /* Σ values², in double. */
    double (*sum_of_squares)(ptrdiff_t n, const void *values);

    /* g ← scale·g + decay·w; v ← μ v + g; w ← w − γ v, or with Nesterov w ← w − γ (g + μ v). v NULL: μ = 0. */
    void (*sgd_step)(ptrdiff_t n, void *weights, void *velocity, const void *gradient, double scale, double rate,
                     double momentum, int nesterov, double decay);

    /* Index of the first NaN or infinity, or -1. */
    ptrdiff_t (*first_nonfinite)(ptrdiff_t n, const void *values);
} cmlp_kernels;

enum { CMLP_BASELINE, CMLP_AVX2, CMLP_AVX512, CMLP_N_LEVELS };

/* The highest level this processor can run. */
int cmlp_highest_level(void);

/* The table of a level the processor has; dtype 0: float, 1: double. */
const cmlp_kernels *cmlp_table(int level, int is_double);

#endif
