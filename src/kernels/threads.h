/* A team of threads that lives for one call of the core.
 *
 * The caller's thread goes through the work alone and opens some of it to its helpers, in parts. Whoever is free takes
 * the next part. So the caller waits for nothing but parts that a helper has begun: a helper that has no processor
 * costs nothing. No sum is divided among parts, and so the numbers do not depend on who takes them.
 *
 * Helpers are started when a call begins and joined before it returns. Nothing spins or sleeps between calls, nothing
 * has to survive a fork, and no run time (OpenMP's, a BLAS's) is shared or oversubscribed. */
#ifndef CMLP_THREADS_H
#define CMLP_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define CMLP_MOST_THREADS 64

/* One part of some work, for a thread 0..n-1 of the team; the caller's is 0. */
typedef void cmlp_work(void *context, ptrdiff_t part, int thread);

typedef struct {
    cmlp_work *work;
    void *context;
    atomic_ptrdiff_t left;       /* parts that nobody has taken, or less than 1 */
    atomic_ptrdiff_t unfinished; /* parts that are not done */
    atomic_int closed;
    atomic_int sleeping;  /* threads that wait for one of the conditions */
    atomic_int n_started; /* helpers that have begun: their numbers */
    pthread_mutex_t mutex;
    pthread_cond_t opened, finished;
    pthread_t helpers[CMLP_MOST_THREADS];
    int n_helpers;
} cmlp_team;

/* Starts n_threads - 1 helpers, or as many as the system gives. */
void cmlp_start_team(cmlp_team *team, int n_threads);

/* Does the parts n_parts - 1..0 of the work with the helpers; what was written before is seen by all parts, and what
 * they write is seen afterwards. */
void cmlp_share_work(cmlp_team *team, ptrdiff_t n_parts, cmlp_work *work, void *context);

/* Ends the helpers. */
void cmlp_end_team(cmlp_team *team);

#endif
