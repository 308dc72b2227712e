/* A cmlp network for other compiled code: predictions and learning steps with no Python in the call.
 *
 * In Python, `network.capsule()` gives a capsule named CMLP_CAPSULE that holds a `cmlp_network *`:
 *
 *     const cmlp_network *net = PyCapsule_GetPointer(capsule, CMLP_CAPSULE);
 *
 * The pointer is valid as long as the capsule lives, and works on the network's live parameters. Neither function needs
 * the GIL or allocates; one capsule is for one thread at a time (take one for each thread). */
#ifndef CMLP_H
#define CMLP_H

#include <stdint.h>

#define CMLP_CAPSULE "cmlp.network"

typedef struct cmlp_network cmlp_network;

struct cmlp_network {
    int64_t n_inputs, n_outputs;
    int32_t is_double; /* of all x and y below: 1 double, 0 float */

    /* y (n_outputs,) = ŷ of x (n_inputs,). */
    void (*predict)(const cmlp_network *network, const void *x, void *y);

    /* One step of plain SGD, without any regularisation, at the given learning rate, every δ clipped to [-clip_delta,
     * clip_delta] (INFINITY: not). y (n_outputs,); or NULL, with cross_entropy and hinge: the class is `label`. Returns ℓ
     * before the step; if it is not finite, nothing is learnt. */
    double (*learn)(const cmlp_network *network, const void *x, const void *y, int64_t label, double learning_rate,
                    double clip_delta);
};

#endif
