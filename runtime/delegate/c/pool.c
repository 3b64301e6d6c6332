#include "pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    Pool *pool;
    pthread_t thread;
    int number;
} Worker;

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t begin, done;
    Part part;
    void *work;
    int parts, next, busy, count;
    unsigned round;
    bool is_over;
    Worker workers[];
};

static void take_parts(Pool *pool, int thread) {
    while (pool->next < pool->parts) {
        const int mine = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        pool->part(pool->work, mine, thread);
        pthread_mutex_lock(&pool->lock);
    }
}

static void *work_on(void *argument) {
    const Worker *worker = argument;
    Pool *pool = worker->pool;
    unsigned seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->is_over) pthread_cond_wait(&pool->begin, &pool->lock);
        if (pool->is_over) break;
        seen = pool->round;
        pool->busy++;
        take_parts(pool, worker->number);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

Pool *pool_new(int threads) {
    if (threads < 2) return NULL;
    Pool *pool = calloc(1, sizeof *pool + (size_t)(threads - 1) * sizeof(Worker));
    if (pool == NULL) return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (int i = 0; i < threads - 1; i++) {
        pool->workers[i] = (Worker){pool, pool->workers[i].thread, i + 1};
        if (pthread_create(&pool->workers[i].thread, NULL, work_on, &pool->workers[i]) != 0) break;
        pool->count++;
    }
    return pool;
}

void pool_free(Pool *pool) {
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->lock);
    pool->is_over = true;
    pthread_cond_broadcast(&pool->begin);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->count; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->begin);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int pool_threads(const Pool *pool) { return pool == NULL ? 1 : pool->count + 1; }

void pool_run(Pool *pool, Part part, void *work, int parts) {
    if (pool == NULL || parts < 2) {
        for (int i = 0; i < parts; i++) part(work, i, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->part = part;
    pool->work = work;
    pool->parts = parts;
    pool->next = 0;
    pool->round++;
    pthread_cond_broadcast(&pool->begin);
    take_parts(pool, 0);
    while (pool->busy > 0) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
