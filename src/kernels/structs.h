/* What crosses the border: operations, networks and updates. Their fields are written once, X(type, name, default), the
 * default standing for "nothing": the structs below come from the lists, and so do the NumPy dtypes of the same layout
 * that Python fills (tables.h). Offsets and sizes count elements, not bytes. */
#ifndef CMLP_STRUCTS_H
#define CMLP_STRUCTS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* One operation of a program. A slice of the activation buffer holds a value (z or a); the same slice of the error
 * buffer holds ∂ℓ/∂(that value). */
#define CMLP_OP_FIELDS(X)                                                                                             \
    X(int, kind, 0)           /* dense: out = f(Wᵀ in + b); activation: out = f(in); add: out = in */                 \
    X(int, activation, 0)     /* f */                                                                                 \
    X(int, layout, 0)         /* rows: W as (n_in, ld); columns: W as (n_out, ld), for wide layers into few units */  \
    X(int, accumulate, 0)     /* add to out instead of assigning (dense: only with the identity) */                   \
    X(int, input_gradient, 0) /* is ∂ℓ/∂in wanted, and does it assign or add to what another reader of `in` left */   \
    X(int, fused, 0)          /* the loss wrote δ itself: do not multiply by f' again */                              \
    X(ptrdiff_t, n_in, 0)                                                                                             \
    X(ptrdiff_t, n_out, 0)                                                                                            \
    X(ptrdiff_t, source, 0)       /* slice in (n_in,), or -1: the network's input x */                                \
    X(ptrdiff_t, z, 0)            /* slice (n_out,): the net input; equal to `out` when f is the identity */          \
    X(ptrdiff_t, out, 0)          /* slice (n_out,): the activation */                                                \
    X(ptrdiff_t, nonzero_in, -1)  /* uint16 (1 + n_in + 3,): how many of `in` are not 0, and which; or -1: use all */ \
    X(ptrdiff_t, nonzero_out, -1) /* the same to be written for `out`; or -1 */                                       \
    X(ptrdiff_t, weights, -1)     /* W in the parameter vector, */                                                    \
    X(ptrdiff_t, ld, 0)           /* from one row of it to the next */                                                \
    X(ptrdiff_t, biases, -1)      /* b in the parameter vector, or -1: none */                                        \
    X(ptrdiff_t, delta, 0)        /* a dense operation's padded slice of a batch's deltas */                          \
    X(double, alpha, 0)           /* of leaky_relu and elu */                                                         \
    X(double, dropout, 0)         /* > 0: in training, the share of the elements of out that are set to 0 */

/* What a network is besides its operations; the sizes of buffers include their padding. */
#define CMLP_NET_FIELDS(X)                                                                                          \
    X(ptrdiff_t, n_inputs, 0)      /* of x */                                                                       \
    X(ptrdiff_t, n_outputs, 0)     /* of ŷ */                                                                       \
    X(ptrdiff_t, n_activations, 0) /* of the activation buffer */                                                   \
    X(ptrdiff_t, n_parameters, 0)  /* of the parameter vector */                                                    \
    X(ptrdiff_t, n_deltas, 0)      /* of the δ of all dense operations */                                           \
    X(ptrdiff_t, width, 0)         /* of the widest operation */                                                    \
    X(ptrdiff_t, x_stride, 0)      /* of an own copy of x */                                                        \
    X(ptrdiff_t, output, 0)        /* ŷ in the activation buffer */                                                 \
    X(double, loss_parameter, 0)   /* δ of huber, q of quantile, the label smoothing of cross_entropy */            \
    X(int, loss, 0)                                                                                                 \
    X(int, fused, 0) /* the last operation's activation and the loss are a natural pair: the loss gives δ itself */ \
    X(int, per_sample, 0) /* the way of plain per-sample SGD (ids.h); its shape must allow it */                    \
    X(int, batches, 0) /* how batches are computed (CMLP_BATCH_WAYS) if they are large enough for vectors along them */

/* How gradients become steps: what stays the same from step to step. Infinite limits switch a clipping off. The loss of
 * a batch with `weighted_mean` is scikit-learn's objective, (loss_scale · Σ s_c ℓ_c + ½ α Σ‖W‖²) / Σ s_c, counted once
 * for each of its samples. */
#define CMLP_UPDATE_FIELDS(X)                                                                          \
    X(ptrdiff_t, batch_size, 1)                                                                        \
    X(uint64_t, seed, 0)            /* of the dropout masks */                                         \
    X(double, clip_delta, INFINITY) /* ψ, for every δ of every sample */                               \
    X(double, clip_value, INFINITY) /* for every element of the gradient, */                           \
    X(double, clip_norm, INFINITY)  /* and then for its norm */                                        \
    X(double, weight_decay, 0)      /* λ */                                                            \
    X(double, alpha, 0)             /* of the objective of `weighted_mean` */                          \
    X(double, loss_scale, 1)        /* the same */                                                     \
    X(double, l1, 0)                /* λ₁ */                                                           \
    X(double, max_norm, INFINITY)   /* of every unit's incoming weights */                             \
    X(double, average_decay, -1)    /* d of the average over the steps, < 0: there is none */          \
    X(double, momentum, 0)          /* from here on: settings that a rule reads if they are its own */ \
    X(double, beta1, 0)                                                                                \
    X(double, beta2, 0)                                                                                \
    X(double, eps, 0)                                                                                  \
    X(double, increase, 0) /* η⁺ of iRPROP+, */                                                        \
    X(double, decrease, 0) /* η⁻ */                                                                    \
    X(double, least, 0)    /* and the bounds of Δ */                                                   \
    X(double, most, 0)                                                                                 \
    X(int, rule, 0)                                                                                    \
    X(int, nesterov, 0)                                                                                \
    X(int, amsgrad, 0)                                                                                 \
    X(int, centered, 0)                                                                                \
    X(int, eps_hat, 0)       /* Adam's ε is added to √v as it is, not to √v̂ */                         \
    X(int, decoupled, 0)     /* weight decay goes past the moments (AdamW) */                          \
    X(int, dropout, 0)       /* layers drop out */                                                     \
    X(int, mean, 1)          /* a batch's gradient is the mean over its samples, not the sum */        \
    X(int, weighted_mean, 0) /* divided by Σ s_c, not by the number of samples */                      \
    X(int, counts_right, 0)  /* decisions are compared with the targets */

#define CMLP_MEMBER(type, name, nothing) type name;
typedef struct {
    CMLP_OP_FIELDS(CMLP_MEMBER)
} cmlp_op;
typedef struct {
    CMLP_NET_FIELDS(CMLP_MEMBER)
} cmlp_net;
typedef struct {
    CMLP_UPDATE_FIELDS(CMLP_MEMBER)
} cmlp_update;

#endif
