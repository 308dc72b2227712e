/* A team of threads that lives for one call of the core.
 *
 * Its threads are started when the call begins and joined before it returns. So nothing spins or sleeps between calls,
 * nothing has to survive a fork, and no run time (OpenMP's, a BLAS's) is shared or oversubscribed. Starting one costs
 * some 20 µs, against calls of about 50 ms. */
#ifndef CMLP_THREADS_H
#define CMLP_THREADS_H

#include <pthread.h>
#include <stdatomic.h>

#define CMLP_MOST_THREADS 64

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t all_here;
    int n_threads, waiting;
    atomic_uint round;
} cmlp_barrier;

/* Runs work(context, thread, n, barrier) for thread = 0..n-1 at the same time, thread 0 on the caller's thread, and
 * returns when all are done. n is n_threads, or fewer if the system gives no more. */
void cmlp_run_team(int n_threads, void (*work)(void *context, int thread, int n, cmlp_barrier *barrier), void *context);

/* Returns when all threads of the team have called it; what they wrote before is seen by all after. */
void cmlp_wait_for_team(cmlp_barrier *barrier);

#endif
