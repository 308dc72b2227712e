/* The names and numbers that both sides of the border know, each once: C gets CMLP_ID from a line X(ID, name), counted
 * from 0, and Python the dict {"name": number} (tables.h). */
#ifndef CMLP_IDS_H
#define CMLP_IDS_H

/* activations.h has f and f'. */
#define CMLP_ACTIVATIONS(X)       \
    X(IDENTITY, identity)         \
    X(RELU, relu)                 \
    X(LEAKY_RELU, leaky_relu)     \
    X(SIGMOID, sigmoid)           \
    X(TANH, tanh)                 \
    X(SOFTMAX, softmax)           \
    X(ELU, elu)                   \
    X(SELU, selu)                 \
    X(GELU, gelu)                 \
    X(SILU, silu)                 \
    X(SOFTPLUS, softplus)         \
    X(HARD_SIGMOID, hard_sigmoid) \
    X(SOFTSIGN, softsign)         \
    X(EXP, exp)

/* losses.h has ℓ and ∂ℓ/∂ŷ. */
#define CMLP_LOSSES(X)                            \
    X(SQUARED_ERROR, squared_error)               \
    X(CROSS_ENTROPY, cross_entropy)               \
    X(BINARY_CROSS_ENTROPY, binary_cross_entropy) \
    X(ABSOLUTE_ERROR, absolute_error)             \
    X(HUBER, huber)                               \
    X(QUANTILE, quantile)                         \
    X(POISSON, poisson)                           \
    X(HINGE, hinge)

/* What an optimiser does with the gradient (step.h). No step: the gradient is all that is wanted. */
#define CMLP_RULES(X)   \
    X(SGD, sgd)         \
    X(ADAM, adam)       \
    X(RMSPROP, rmsprop) \
    X(ADAGRAD, adagrad) \
    X(RPROP, rprop)     \
    X(NO_STEP, none)

/* The vectors like the parameters that a rule may keep; each uses its own. */
#define CMLP_SLOTS(X)                                                              \
    X(VELOCITY, velocity)               /* v of sgd, m of adam */                  \
    X(SQUARES, squares)                 /* of g: v of adam, rmsprop and adagrad */ \
    X(LARGEST_SQUARES, largest_squares) /* of amsgrad */                           \
    X(MEANS, means)                     /* of g: centered rmsprop */               \
    X(LAST_SIGNS, last_signs)           /* of g: rprop */                          \
    X(STEP_SIZES, step_sizes)           /* Δ of rprop */

/* Of operations: what one computes, how W lies, and whether ∂ℓ/∂(its input) is wanted (structs.h). */
#define CMLP_KINDS(X)         \
    X(DENSE, dense)           \
    X(ACTIVATION, activation) \
    X(ADD, add)
#define CMLP_LAYOUTS(X) \
    X(ROWS, rows)       \
    X(COLUMNS, columns)
#define CMLP_INPUT_GRADIENTS(X) \
    X(NOT_WANTED, not_wanted)   \
    X(ASSIGN, assign)           \
    X(ACCUMULATE, accumulate)

/* The ways of plain per-sample SGD to the same numbers (per_sample.pxi). */
#define CMLP_PER_SAMPLE_WAYS(X)                                                                 \
    X(BY_OPERATION, by_operation) /* one operation after the other: whatever the composition */ \
    X(IN_BLOCKS, in_blocks)       /* block.h: x in blocks of samples */                         \
    X(AS_CHAIN, as_chain)         /* chain.h: narrow layers */                                  \
    X(AHEAD, ahead)               /* ahead.h: few hidden units and one output */

/* How the values of a batch lie, and so along what vectors run: row by row, along the units (batch.h), or unit by unit,
 * along the rows (units_first.h). */
#define CMLP_BATCH_WAYS(X)    \
    X(ROWS_FIRST, rows_first) \
    X(UNITS_FIRST, units_first)

#define CMLP_ID(ID, name) CMLP_##ID,
enum { CMLP_ACTIVATIONS(CMLP_ID) };
enum { CMLP_LOSSES(CMLP_ID) };
enum { CMLP_RULES(CMLP_ID) };
enum { CMLP_SLOTS(CMLP_ID) CMLP_N_SLOTS };
enum { CMLP_KINDS(CMLP_ID) };
enum { CMLP_LAYOUTS(CMLP_ID) };
enum { CMLP_INPUT_GRADIENTS(CMLP_ID) };
enum { CMLP_PER_SAMPLE_WAYS(CMLP_ID) };
enum { CMLP_BATCH_WAYS(CMLP_ID) };

#endif
