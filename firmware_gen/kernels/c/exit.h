/* Early exits: whether logits are sure, in whole numbers as core/exits/whole_numbers.py; which frames are audited, by the
   generator of core/exits/draws.py; and the bet of core/exits/audit.py, with the bits of Python's doubles. */
#ifndef MG_EXIT_H
#define MG_EXIT_H

#include "mg_common.h"

enum { MG_GAMBLERS = 5 };

typedef struct {
    uint32_t bit;    /* of the task */
    uint32_t others; /* exits of the task, a bit each */
    uint32_t task;   /* place among the tasks that have exits */
    int32_t number;  /* which of the exits of the task it is, from 1 on */
    int32_t marginal;
    uint64_t usual; /* draws of 32 bits below are audited; all while the promise is in doubt */
    double gains[2][MG_GAMBLERS]; /* what capitals are multiplied by: of a frame that disagrees, and that agrees */
} mg_exit_policy;

typedef struct {
    uint32_t chance, drawn;
    int32_t audited, left; /* number of the exit, 0 for none */
} mg_exit_task;

typedef struct {
    mg_exit_state *states;
    const mg_exit_policy *policies;
    double (*capitals)[MG_GAMBLERS];
    double (*renewed)[MG_GAMBLERS]; /* what a stake of 1 has become that is laid anew when less is left */
    mg_exit_task *tasks;
    const uint32_t *periods; /* audited frames from one gambler of a kind to the next */
    double doubt, broken;    /* from which on all is looked at, of the renewed; and, of capitals, the exit is closed */
    uint32_t count, task_count;
    uint32_t open;     /* tasks that have not left */
    uint32_t early;    /* exits that are still to be computed */
    uint32_t computed; /* exits that were */
    uint64_t draws;
} mg_exits;

/* One operation a call: no two are rounded as one. */
MG_KERNEL double mg_add64(double a, double b) { return a + b; }
MG_KERNEL double mg_mul64(double a, double b) { return a * b; }
MG_KERNEL double mg_div64(double a, double b) { return a / b; }

MG_INLINE uint64_t mg_load64(const void *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* The largest of some logits and how far below the next one is. flip: 0x80 for int8, 0 for uint8. */
MG_KERNEL int32_t mg_exit_top(const int8_t *logits, int32_t classes, int32_t flip, int32_t *second)
{
    int32_t top = -1, next = -1;
    for (int32_t i = 0; i < classes; i++) {
        const int32_t value = (uint8_t)logits[i] ^ flip;
        if (value > top) {
            next = top;
            top = value;
        } else if (value > next) {
            next = value;
        }
    }
    *second = top - next;
    return top;
}

/* What a table has for all logits together. */
MG_KERNEL uint64_t mg_exit_sum(
    const int8_t *logits, int32_t classes, int32_t flip, int32_t top, const void *table, int32_t distances)
{
    uint64_t sum = 0;
    for (int32_t i = 0; i < classes; i++) {
        const int32_t distance = top - ((uint8_t)logits[i] ^ flip);
        if (distance < distances)
            sum += mg_load64((const int8_t *)table + 8 * distance);
    }
    return sum;
}

/* Probability or margin: shares, then bounds. */
MG_KERNEL int mg_exit_bounded(
    const int8_t *logits, int32_t classes, int32_t flip, const void *tables, int32_t distances, int32_t bounds)
{
    int32_t second;
    const int32_t top = mg_exit_top(logits, classes, flip, &second);
    const uint64_t total = mg_exit_sum(logits, classes, flip, top, tables, distances);
    const int32_t bound = distances + mg_min(second, bounds - 1);
    return total - mg_load64(tables) < mg_load64((const int8_t *)tables + 8 * bound);
}

/* Entropy: shares, weighted shares, logarithms. most: -1 for never. */
MG_KERNEL int mg_exit_entropy(
    const int8_t *logits, int32_t classes, int32_t flip, const void *tables, int32_t distances, int32_t bits,
    int64_t most)
{
    const int8_t *const weights = (const int8_t *)tables + 8 * distances, *const logs = weights + 8 * distances;
    int32_t second, high = 63;
    const int32_t top = mg_exit_top(logits, classes, flip, &second);
    const uint64_t total = mg_exit_sum(logits, classes, flip, top, tables, distances);
    const uint64_t weighted = mg_exit_sum(logits, classes, flip, top, weights, distances);
    while ((total >> high) == 0)
        high--;
    const uint64_t mantissa = total << (62 - high);
    uint64_t product = (uint64_t)1 << 62, log = (uint64_t)(high - bits) * mg_load64(logs);
    for (int32_t k = 0; k <= bits; k++) {
        const uint64_t grown = product + (product >> k);
        if (grown <= mantissa) {
            product = grown;
            log += mg_load64(logs + 8 * k);
        }
    }
    uint64_t quotient = weighted / total, rest = weighted % total;
    for (int32_t k = 0; k < bits; k++) {
        rest <<= 1;
        quotient <<= 1;
        if (rest >= total) {
            rest -= total;
            quotient |= 1;
        }
    }
    return (int64_t)((log >> (56 - bits)) + quotient) <= most;
}

/* The place of the largest, the first one of equals. */
MG_KERNEL int32_t mg_exit_class8(const int8_t *values, int32_t count, int32_t flip)
{
    int32_t found = 0;
    for (int32_t i = 1; i < count; i++) {
        if (((uint8_t)values[i] ^ flip) > ((uint8_t)values[found] ^ flip))
            found = i;
    }
    return found;
}

MG_KERNEL int32_t mg_exit_class32(const int8_t *values, int32_t count)
{
    int32_t found = 0;
    float most, value;
    memcpy(&most, values, sizeof most);
    for (int32_t i = 1; i < count; i++) {
        memcpy(&value, values + 4 * i, sizeof value);
        if (value > most) {
            most = value;
            found = i;
        }
    }
    return found;
}

MG_INLINE uint32_t mg_exit_draw(mg_exits *e)
{
    const uint64_t old = e->draws;
    e->draws = old * 6364136223846793005u + 109u;
    const uint32_t mixed = (uint32_t)(((old >> 18) ^ old) >> 27), turn = (uint32_t)(old >> 59);
    return mixed >> turn | mixed << ((0u - turn) & 31u);
}

MG_KERNEL void mg_exits_reset(mg_exits *e, uint32_t seed)
{
    for (uint32_t k = 0; k < e->count; k++) {
        mg_exit_state *const state = &e->states[k];
        state->reached = state->taken = state->audited = state->disagreed = 0;
        state->is_open = 1;
        state->is_in_doubt = 0;
        for (int32_t g = 0; g < MG_GAMBLERS; g++)
            e->capitals[k][g] = e->renewed[k][g] = 0;
    }
    e->draws = 0;
    (void)mg_exit_draw(e);
    e->draws += seed;
    (void)mg_exit_draw(e);
}

MG_KERNEL void mg_exits_begin(mg_exits *e, uint32_t task_mask)
{
    e->open = task_mask;
    e->early = e->computed = 0;
    for (uint32_t k = 0; k < e->count; k++) {
        if (e->states[k].is_open && (e->policies[k].bit & task_mask) != 0)
            e->early |= 1u << k;
    }
    memset(e->tasks, 0, e->task_count * sizeof *e->tasks);
}

/* What all gamblers have together; those to come hold what waits for them. */
MG_KERNEL double mg_exit_capital(const mg_exits *e, uint32_t k)
{
    const uint32_t audited = e->states[k].audited;
    double together = 0;
    for (int32_t g = 0; g < MG_GAMBLERS; g++) {
        const uint32_t came = audited / e->periods[g] + (audited % e->periods[g] != 0);
        const double waits = mg_div64(1.0, (double)came + 1.0);
        together = mg_add64(together, mg_add64(e->capitals[k][g], waits));
    }
    return mg_div64(together, (double)MG_GAMBLERS);
}

/* Whether the frame is among those that audit the exit; one draw a task serves all of its exits. */
MG_KERNEL int mg_exit_drawn(mg_exits *e, uint32_t k)
{
    const mg_exit_policy *const policy = &e->policies[k];
    mg_exit_task *const task = &e->tasks[policy->task];
    if (policy->usual == 0)
        return 0;
    if (!task->drawn) {
        task->drawn = 1;
        task->chance = mg_exit_draw(e);
    }
    return e->states[k].is_in_doubt || task->chance < policy->usual;
}

MG_KERNEL void mg_exit_bet(mg_exits *e, uint32_t k, int agrees)
{
    mg_exit_state *const state = &e->states[k];
    const uint32_t before = state->audited++;
    state->disagreed += !agrees;
    state->is_in_doubt = 0;
    for (int32_t g = 0; g < MG_GAMBLERS; g++) {
        double capital = e->capitals[k][g];
        if (before % e->periods[g] == 0) {
            const uint64_t came = before / e->periods[g];
            capital = mg_add64(capital, mg_div64(1.0, (double)((came + 1) * (came + 2))));
        }
        e->capitals[k][g] = mg_mul64(capital, e->policies[k].gains[agrees][g]);
        const double renewed = e->renewed[k][g];
        e->renewed[k][g] = mg_mul64(renewed > 1 ? renewed : 1, e->policies[k].gains[agrees][g]);
        state->is_in_doubt |= e->renewed[k][g] >= e->doubt;
    }
    if (mg_exit_capital(e, k) >= e->broken)
        state->is_open = 0;
}

/* Behind the logits of an exit: the frame leaves, or goes on. */
MG_KERNEL void mg_exit_passed(mg_exits *e, uint32_t k, int is_sure)
{
    const mg_exit_policy *const policy = &e->policies[k];
    mg_exit_task *const task = &e->tasks[policy->task];
    e->states[k].reached++;
    e->computed |= 1u << k;
    const int is_audited = mg_exit_drawn(e, k);
    if (!is_sure)
        return;
    e->states[k].taken++;
    e->early &= ~policy->others;
    if (is_audited) {
        task->audited = policy->number;
    } else {
        task->left = policy->number;
        e->open &= ~policy->bit;
    }
}

/* Once all answers are there: the exit that was audited, which answered as the whole network or not. */
MG_KERNEL void mg_exit_audited(mg_exits *e, uint32_t k, int agrees)
{
    if (e->tasks[e->policies[k].task].audited == e->policies[k].number)
        mg_exit_bet(e, k, agrees);
}

/* At the end: of a promise that is one of all frames, those that did not take the exit cannot have broken it. */
MG_KERNEL void mg_exits_end(mg_exits *e, uint32_t task_mask)
{
    for (uint32_t k = 0; k < e->count; k++) {
        const mg_exit_policy *const policy = &e->policies[k];
        const mg_exit_task *const task = &e->tasks[policy->task];
        const int taken = task->left == policy->number || task->audited == policy->number;
        if (policy->marginal && (policy->bit & task_mask) != 0 && !taken && e->states[k].is_open && mg_exit_drawn(e, k))
            mg_exit_bet(e, k, 1);
    }
}

#endif
