/* The faults that tools/sanitize, tools/races and tools/memcheck must find, compiled as the core is for each of them. No
 * part of cmlp. */
#include <pthread.h>
#include <stddef.h>

/* Reads one element too many. */
double overread(const double *values, ptrdiff_t n) {
    double sum = 0;
    for (ptrdiff_t i = 0; i <= n; i++) sum += values[i];
    return sum;
}

/* Adds 1 to the largest int. */
int overflow(int largest) { return largest + 1; }

static long count;

static void *add(void *times) {
    for (long i = 0; i < *(long *)times; i++) count++;
    return NULL;
}

/* Two threads add to the same number. */
long race(long times) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, add, &times);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return count;
}
