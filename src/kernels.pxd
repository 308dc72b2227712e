# The C border, kernels/kernels.h, for Cython.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "kernels/kernels.h" nogil:
    const int CMLP_ALIGN
    enum: CMLP_BLOCK
    enum: CMLP_MOST_AHEAD
    enum: CMLP_ROWS_AT_ONCE
    enum: CMLP_PACK
    enum: CMLP_N_SLOTS
    enum: CMLP_BY_OPERATION
    enum: CMLP_IN_BLOCKS
    enum: CMLP_AS_CHAIN
    enum: CMLP_AHEAD
    const int CMLP_DENSE, CMLP_ROWS, CMLP_CROSS_ENTROPY, CMLP_BINARY_CROSS_ENTROPY, CMLP_POISSON, CMLP_HINGE
    const int CMLP_SGD, CMLP_ADAM, CMLP_RMSPROP, CMLP_ADAGRAD, CMLP_RPROP, CMLP_NO_STEP
    const int CMLP_ROWS_FIRST, CMLP_UNITS_FIRST

    # of these structs, the fields that the loops use
    ctypedef struct cmlp_op:
        int kind, activation, layout, accumulate, input_gradient
        ptrdiff_t n_in, n_out, source, z, out, weights, ld, biases, delta
        double dropout

    ctypedef struct cmlp_net:
        ptrdiff_t n_inputs, n_outputs, n_activations, n_parameters, n_deltas, width, x_stride, output
        double loss_parameter
        int loss, fused, per_sample, batches

    ctypedef struct cmlp_update:
        ptrdiff_t batch_size
        uint64_t seed
        double clip_delta, clip_value, clip_norm, weight_decay, alpha, loss_scale, l1, max_norm, average_decay
        double momentum, eps
        int rule, amsgrad, centered, decoupled, dropout, mean, weighted_mean, counts_right

    uint64_t cmlp_mask_key(uint64_t seed, uint64_t step, uint64_t position, uint64_t op) noexcept

    ctypedef struct cmlp_step:
        const cmlp_update *update
        double scale, decay, rate, eps, shrink
        int loss_rose

    ctypedef struct cmlp_vectors:
        char *params
        char *gradient
        char *average
        char *slots[CMLP_N_SLOTS]

    ctypedef struct cmlp_target:
        void *values
        double scale, clip_delta

    ctypedef struct cmlp_samples:
        const char *X
        const char *Y
        const int64_t *labels
        const int64_t *order
        const double *weights
        ptrdiff_t n, n_rows
        int checked

    ctypedef struct cmlp_rates:
        const double *values
        ptrdiff_t n, first_step

    ctypedef struct cmlp_result:
        double loss, correct
        ptrdiff_t n_clipped, bad

    ctypedef struct cmlp_rows:
        int units_first
        ptrdiff_t n, first, x_stride, stride, deltas_stride
        char *x
        char *activations
        char *errors
        char *deltas
        char *pack

    ctypedef struct cmlp_targets:
        const void *const *y
        const int64_t *labels
        const double *weights

    ctypedef struct cmlp_kernels:
        void (*forward)(const cmlp_op *, const void *, const void *, void *) noexcept nogil
        ptrdiff_t (*backward)(const cmlp_op *, const void *, const cmlp_target *, const void *, const void *, void *,
                              void *) noexcept nogil
        double (*loss)(const cmlp_net *, const void *, const void *, const void *, int64_t, double,
                       void *) noexcept nogil
        void (*activate_slice)(int, ptrdiff_t, double, const void *, void *) noexcept nogil
        int (*block_turn)(const cmlp_op *, void *, const void *const *, const void *, const void *const *, void *,
                          void *) noexcept nogil
        void (*block_forward)(const cmlp_op *, int, const void *, const void *, const void *, void *) noexcept nogil
        ptrdiff_t (*block_backward)(const cmlp_op *, int, const cmlp_target *, const void *, void *, void *,
                                    void *) noexcept nogil
        double (*chain)(const cmlp_op *, int, const cmlp_net *, const cmlp_target *, const cmlp_samples *, ptrdiff_t,
                        void *, void *, void *, ptrdiff_t *) noexcept nogil
        void (*ahead)(const cmlp_op *, const cmlp_net *, void *, const cmlp_samples *, const cmlp_rates *,
                      const cmlp_update *, void *, void *, void *, cmlp_result *) noexcept nogil
        void (*batch_forward)(const cmlp_op *, const void *, const cmlp_rows *) noexcept nogil
        ptrdiff_t (*batch_errors)(const cmlp_op *, const void *, const cmlp_target *, const cmlp_rows *,
                                  void *) noexcept nogil
        void (*batch_gradient)(const cmlp_op *, void *, const cmlp_rows *, ptrdiff_t, ptrdiff_t, int) noexcept nogil
        void (*units_first_inputs)(const cmlp_rows *, ptrdiff_t, const void *const *, const void *) noexcept nogil
        void (*units_first_losses)(const cmlp_net *, const cmlp_rows *, ptrdiff_t, const cmlp_targets *,
                                   double *) noexcept nogil
        void (*units_first_outputs)(const cmlp_rows *, ptrdiff_t, ptrdiff_t, void *) noexcept nogil
        void (*prepare_step)(cmlp_step *, ptrdiff_t) noexcept nogil
        void (*step)(const cmlp_step *, const cmlp_vectors *, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*clip)(ptrdiff_t, void *, double) noexcept nogil
        double (*sum_of_squares)(ptrdiff_t, const void *) noexcept nogil
        ptrdiff_t (*first_nonfinite)(ptrdiff_t, const void *) noexcept nogil
        void (*add_signs)(ptrdiff_t, void *, const void *, double) noexcept nogil
        void (*limit_norms)(const cmlp_op *, void *, double, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*average)(ptrdiff_t, void *, const void *, double) noexcept nogil
        void (*drop)(ptrdiff_t, ptrdiff_t, uint64_t, double, void *) noexcept nogil
        void (*standardize)(ptrdiff_t, const void *, const void *, const void *, void *) noexcept nogil
        int (*learn_scale)(ptrdiff_t, const void *, double *, double *, double *, void *, void *) noexcept nogil

    int cmlp_highest_level() noexcept
    const cmlp_kernels *cmlp_table(int level, int is_double) noexcept

cdef extern from "kernels/tables.h" nogil:
    ctypedef struct cmlp_name:
        const char *name
        int id
    ctypedef struct cmlp_field:
        const char *name
        const char *type
        ptrdiff_t offset
    const cmlp_name *cmlp_activation_names
    const cmlp_name *cmlp_loss_names
    const cmlp_name *cmlp_rule_names
    const cmlp_name *cmlp_slot_names
    const cmlp_name *cmlp_kind_names
    const cmlp_name *cmlp_layout_names
    const cmlp_name *cmlp_input_gradient_names
    const cmlp_name *cmlp_per_sample_names
    const cmlp_name *cmlp_batch_way_names
    const cmlp_field *cmlp_op_fields
    const cmlp_field *cmlp_net_fields
    const cmlp_field *cmlp_update_fields
    const cmlp_op cmlp_op_defaults
    const cmlp_net cmlp_net_defaults
    const cmlp_update cmlp_update_defaults

cdef extern from "kernels/threads.h" nogil:
    enum: CMLP_MOST_THREADS
    ctypedef struct cmlp_team:
        pass
    void cmlp_start_team(cmlp_team *, int n_threads) noexcept
    void cmlp_share_work(cmlp_team *, ptrdiff_t n_parts, void (*work)(void *, ptrdiff_t, int) noexcept nogil,
                         void *context) noexcept
    void cmlp_end_team(cmlp_team *) noexcept

cdef extern from "cmlp.h" nogil:
    const char *CMLP_CAPSULE
    ctypedef struct cmlp_network:
        int64_t n_inputs, n_outputs
        int32_t is_double
        void (*predict)(const cmlp_network *, const void *, void *) noexcept nogil
        double (*learn)(const cmlp_network *, const void *, const void *, int64_t, double, double) noexcept nogil
