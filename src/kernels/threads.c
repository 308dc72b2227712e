#include "threads.h"

#include <sched.h>

/* How long a thread waits awake, some microseconds, then lets others have its processor, before it sleeps: mostly the
 * others are a few microseconds behind, but one that has no processor may stay away for milliseconds. */
enum { LOOKS = 3000, YIELDS = 10 };

/* Of a helper. The kernels need less than 32 KiB; the rest is for what systems take of it (thread-local storage, guard
 * pages) and for builds without optimisation or with sanitizers. */
enum { STACK_BYTES = 512 * 1024 };

static void rest(int look) {
    if (look >= LOOKS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static int has_work(const cmlp_team *t) { return atomic_load(&t->left) > 0 || atomic_load(&t->closed); }
static int has_finished(const cmlp_team *t) { return atomic_load(&t->unfinished) == 0; }

/* Returns when the condition holds. Whoever makes it hold calls `tell` afterwards. */
static void wait_until(cmlp_team *t, int (*holds)(const cmlp_team *), pthread_cond_t *told) {
    for (int look = 0; look < LOOKS + YIELDS; look++) {
        if (holds(t)) return;
        rest(look);
    }
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->sleeping, 1); /* before the last look: `tell` looks here after the condition has changed */
    while (!holds(t)) pthread_cond_wait(told, &t->mutex);
    atomic_fetch_sub(&t->sleeping, 1);
    pthread_mutex_unlock(&t->mutex);
}

static void tell(cmlp_team *t, pthread_cond_t *condition) {
    if (atomic_load(&t->sleeping) == 0) return;
    pthread_mutex_lock(&t->mutex);
    pthread_cond_broadcast(condition);
    pthread_mutex_unlock(&t->mutex);
}

/* Does parts as long as there are any. A part that is taken belongs to the present work, whenever its taker looked
 * there first: the work ends after its parts, and the next one opens later. */
static void take_parts(cmlp_team *t, int thread) {
    ptrdiff_t part;
    while (atomic_load(&t->left) > 0 && (part = atomic_fetch_sub(&t->left, 1) - 1) >= 0) {
        t->work(t->context, part, thread);
        if (atomic_fetch_sub(&t->unfinished, 1) == 1 && thread > 0) tell(t, &t->finished);
    }
}

static void *help(void *argument) {
    cmlp_team *t = argument;
    const int thread = 1 + atomic_fetch_add(&t->n_started, 1);
    while (wait_until(t, has_work, &t->opened), !atomic_load(&t->closed)) take_parts(t, thread);
    return NULL;
}

void cmlp_start_team(cmlp_team *t, int n_threads) {
    t->n_helpers = 0;
    atomic_init(&t->left, 0);
    atomic_init(&t->closed, 0);
    atomic_init(&t->sleeping, 0);
    atomic_init(&t->n_started, 0);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->opened, NULL);
    pthread_cond_init(&t->finished, NULL);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* refused: the system's default */
    while (t->n_helpers < n_threads - 1 && t->n_helpers < CMLP_MOST_THREADS - 1) {
        if (pthread_create(&t->helpers[t->n_helpers], &attributes, help, t)) break;
        t->n_helpers++;
    }
    pthread_attr_destroy(&attributes);
}

void cmlp_share_work(cmlp_team *t, ptrdiff_t n_parts, cmlp_work *work, void *context) {
    if (t->n_helpers == 0 || n_parts == 1) {
        for (ptrdiff_t part = n_parts - 1; part >= 0; part--) work(context, part, 0);
        return;
    }
    t->work = work, t->context = context;
    atomic_store(&t->unfinished, n_parts);
    atomic_store(&t->left, n_parts);
    tell(t, &t->opened);
    take_parts(t, 0);
    wait_until(t, has_finished, &t->finished);
}

void cmlp_end_team(cmlp_team *t) {
    atomic_store(&t->closed, 1);
    tell(t, &t->opened);
    for (int i = 0; i < t->n_helpers; i++) pthread_join(t->helpers[i], NULL);
    pthread_cond_destroy(&t->finished);
    pthread_cond_destroy(&t->opened);
    pthread_mutex_destroy(&t->mutex);
}
