/* Learning from a stream in C: predict each sample, then learn from it, with no Python in between.
 *
 *     cc -O2 -shared -fPIC -I"$(python -c 'import cmlp; print(cmlp.get_include())')" stream.c -o stream.so
 *
 * From Python, with ctypes (tests/test_c_interface.py does this):
 *
 *     get_pointer = ctypes.pythonapi.PyCapsule_GetPointer      # (capsule, b"cmlp.network") -> address
 *     errors = ctypes.CDLL("./stream.so").count_errors(address, X, labels, len(X), rate)
 */
#include <math.h>

#include "cmlp.h"

enum { MOST_CLASSES = 64 };

/* X (n, n_inputs) float32, labels (n,): how many samples were classified wrongly before they were learnt. */
int64_t count_errors(const cmlp_network *net, const float *X, const int64_t *labels, int64_t n, double rate) {
    int64_t errors = 0;
    float y[MOST_CLASSES];
    for (int64_t c = 0; c < n; c++, X += net->n_inputs) {
        int64_t guess = 0;
        net->predict(net, X, y);
        for (int64_t k = 1; k < net->n_outputs; k++)
            if (y[k] > y[guess]) guess = k;
        errors += guess != labels[c];
        net->learn(net, X, 0, labels[c], rate, INFINITY);
    }
    return errors;
}
