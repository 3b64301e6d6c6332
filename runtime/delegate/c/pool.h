/* Threads that share out the parts of one piece of work. */
#ifndef MULTIGRAFT_POOL_H
#define MULTIGRAFT_POOL_H

typedef struct Pool Pool;
typedef void (*Part)(void *work, int part, int thread);

/* NULL where no thread can be had; pool_run then works on the caller's alone. */
Pool *pool_new(int threads);
void pool_free(Pool *pool);
/* Threads including the caller's. */
int pool_threads(const Pool *pool);
/* Calls part(work, 0 .. parts - 1, thread) on all threads and returns when all are done. */
void pool_run(Pool *pool, Part part, void *work, int parts);

#endif
