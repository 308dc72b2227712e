#include "threads.h"

typedef struct {
    void (*work)(void *context, int thread, int n, cmlp_barrier *barrier);
    void *context;
    cmlp_barrier barrier;
} team;

typedef struct {
    team *team;
    int thread;
} member;

/* A moment of waiting awake before sleeping: the threads of a team mostly arrive within microseconds of each other. */
enum { LOOKS_BEFORE_SLEEP = 2000 };

void cmlp_wait_for_team(cmlp_barrier *b) {
    if (b->n_threads == 1) return;
    pthread_mutex_lock(&b->mutex);
    const unsigned round = atomic_load(&b->round);
    if (++b->waiting == b->n_threads) {
        b->waiting = 0;
        atomic_store(&b->round, round + 1);
        pthread_cond_broadcast(&b->all_here);
        pthread_mutex_unlock(&b->mutex);
        return;
    }
    pthread_mutex_unlock(&b->mutex);
    for (int look = 0; look < LOOKS_BEFORE_SLEEP; look++) {
        if (atomic_load(&b->round) != round) return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&b->mutex);
    while (atomic_load(&b->round) == round) pthread_cond_wait(&b->all_here, &b->mutex);
    pthread_mutex_unlock(&b->mutex);
}

static void *run_member(void *argument) {
    const member *m = argument;
    pthread_mutex_lock(&m->team->barrier.mutex); /* until the caller knows how many there are */
    pthread_mutex_unlock(&m->team->barrier.mutex);
    m->team->work(m->team->context, m->thread, m->team->barrier.n_threads, &m->team->barrier);
    return NULL;
}

void cmlp_run_team(int n_threads, void (*work)(void *context, int thread, int n, cmlp_barrier *barrier),
                   void *context) {
    team t = {.work = work, .context = context, .barrier = {.n_threads = 1}};
    pthread_t threads[CMLP_MOST_THREADS];
    member members[CMLP_MOST_THREADS];
    pthread_mutex_init(&t.barrier.mutex, NULL);
    pthread_cond_init(&t.barrier.all_here, NULL);
    atomic_init(&t.barrier.round, 0);
    pthread_mutex_lock(&t.barrier.mutex);
    int n = 1;
    while (n < n_threads && n < CMLP_MOST_THREADS) {
        members[n] = (member){&t, n};
        if (pthread_create(&threads[n], NULL, run_member, &members[n])) break;
        n++;
    }
    t.barrier.n_threads = n;
    pthread_mutex_unlock(&t.barrier.mutex);
    work(context, 0, n, &t.barrier);
    for (int i = 1; i < n; i++) pthread_join(threads[i], NULL);
    pthread_cond_destroy(&t.barrier.all_here);
    pthread_mutex_destroy(&t.barrier.mutex);
}
