/* What crosses the border: operations, networks and updates. Their fields are written once, X(type, name): the structs
 * below come from the lists, and so do the NumPy dtypes of the same layout that Python fills (tables.h). Offsets and
 * sizes count elements, not bytes. */
#ifndef CMLP_STRUCTS_H
#define CMLP_STRUCTS_H

#include <stddef.h>
#include <stdint.h>

/* One operation of a program. A slice of the activation buffer holds a value (z or a); the same slice of the error
 * buffer holds ∂ℓ/∂(that value). */
#define CMLP_OP_FIELDS(X)                                                                                         \
    X(int, kind)           /* dense: out = f(Wᵀ in + b); activation: out = f(in); add: out = in */                \
    X(int, activation)     /* f */                                                                                \
    X(int, layout)         /* rows: W as (n_in, ld); columns: W as (n_out, ld), for wide layers into few units */ \
    X(int, accumulate)     /* add to out instead of assigning (dense: only with the identity) */                  \
    X(int, input_gradient) /* is ∂ℓ/∂in wanted, and does it assign or add to what another reader of `in` left */  \
    X(int, fused)          /* the loss wrote δ itself: do not multiply by f' again */                             \
    X(ptrdiff_t, n_in)                                                                                            \
    X(ptrdiff_t, n_out)                                                                                           \
    X(ptrdiff_t, source)      /* slice in (n_in,), or -1: the network's input x */                                \
    X(ptrdiff_t, z)           /* slice (n_out,): the net input; equal to `out` when f is the identity */          \
    X(ptrdiff_t, out)         /* slice (n_out,): the activation */                                                \
    X(ptrdiff_t, nonzero_in)  /* uint16 (1 + n_in + 3,): how many of `in` are not 0, and which; or -1: use all */ \
    X(ptrdiff_t, nonzero_out) /* the same to be written for `out`; or -1 */                                       \
    X(ptrdiff_t, weights)     /* W in the parameter vector, */                                                    \
    X(ptrdiff_t, ld)          /* from one row of it to the next */                                                \
    X(ptrdiff_t, biases)      /* b in the parameter vector, or -1: none */                                        \
    X(ptrdiff_t, delta)       /* a dense operation's padded slice of a batch's deltas */                          \
    X(double, alpha)          /* of leaky_relu and elu */                                                         \
    X(double, dropout)        /* > 0: in training, the share of the elements of out that are set to 0 */

/* What a network is besides its operations; the sizes of buffers include their padding. */
#define CMLP_NET_FIELDS(X)                                                                                           \
    X(ptrdiff_t, n_inputs)      /* of x */                                                                           \
    X(ptrdiff_t, n_outputs)     /* of ŷ */                                                                           \
    X(ptrdiff_t, n_activations) /* of the activation buffer */                                                       \
    X(ptrdiff_t, n_parameters)  /* of the parameter vector */                                                        \
    X(ptrdiff_t, n_deltas)      /* of the δ of all dense operations */                                               \
    X(ptrdiff_t, width)         /* of the widest operation */                                                        \
    X(ptrdiff_t, x_stride)      /* of an own copy of x */                                                            \
    X(ptrdiff_t, output)        /* ŷ in the activation buffer */                                                     \
    X(double, loss_parameter)   /* δ of huber, q of quantile, the label smoothing of cross_entropy */                \
    X(int, loss)                                                                                                     \
    X(int, fused)     /* the last operation's activation and the loss are a natural pair: the loss gives δ itself */ \
    X(int, in_blocks) /* plain per-sample SGD takes x in blocks (block.h), which only the first operation may read */

/* How gradients become steps: what stays the same from step to step. Infinite limits switch a clipping off. The loss of
 * a batch with `weighted_mean` is scikit-learn's objective, (loss_scale · Σ s_c ℓ_c + ½ α Σ‖W‖²) / Σ s_c, counted once
 * for each of its samples. */
#define CMLP_UPDATE_FIELDS(X)                                                                   \
    X(ptrdiff_t, batch_size)                                                                    \
    X(uint64_t, seed)        /* of the dropout masks */                                         \
    X(double, clip_delta)    /* ψ, for every δ of every sample */                               \
    X(double, clip_value)    /* for every element of the gradient, */                           \
    X(double, clip_norm)     /* and then for its norm */                                        \
    X(double, weight_decay)  /* λ */                                                            \
    X(double, alpha)         /* of the objective of `weighted_mean` */                          \
    X(double, loss_scale)    /* the same */                                                     \
    X(double, l1)            /* λ₁ */                                                           \
    X(double, max_norm)      /* of every unit's incoming weights */                             \
    X(double, average_decay) /* d of the average over the steps, < 0: there is none */          \
    X(double, momentum)      /* from here on: settings that a rule reads if they are its own */ \
    X(double, beta1)                                                                            \
    X(double, beta2)                                                                            \
    X(double, eps)                                                                              \
    X(double, increase) /* η⁺ of iRPROP+, */                                                    \
    X(double, decrease) /* η⁻ */                                                                \
    X(double, least)    /* and the bounds of Δ */                                               \
    X(double, most)                                                                             \
    X(int, rule)                                                                                \
    X(int, nesterov)                                                                            \
    X(int, amsgrad)                                                                             \
    X(int, centered)                                                                            \
    X(int, eps_hat)       /* Adam's ε is added to √v as it is, not to √v̂ */                     \
    X(int, decoupled)     /* weight decay goes past the moments (AdamW) */                      \
    X(int, dropout)       /* layers drop out */                                                 \
    X(int, mean)          /* a batch's gradient is the mean over its samples, not the sum */    \
    X(int, weighted_mean) /* divided by Σ s_c, not by the number of samples */

#define CMLP_MEMBER(type, name) type name;
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
