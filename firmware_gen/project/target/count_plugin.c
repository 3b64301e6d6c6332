/* QEMU TCG plugin: counts the instructions executed between two addresses, in all, per function and per step.
   Distributions ship no header for it, so what is used is declared here, as in QEMU's documentation of the API ("QEMU TCG
   Plugins"). It is of plugin API version 1 for QEMU up to 8.2, which adds to a number anywhere, and of version 2 for QEMU
   from 9.0 on, which adds to one in a scoreboard of its own. Which of both is known when the library is loaded, by what
   QEMU has: QEMU reads qemu_plugin_version before it calls anything, and refuses another.

   Arguments: begin=ADDRESS, end=ADDRESS, functions=FILE (lines "START SIZE NAME", numbers hexadecimal), steps=FILE
   (lines "ADDRESS NUMBER", the number decimal), output=FILE. Every arrival at end after one at begin adds a line
   "run COUNT" and, per step and function executed, a line "step NUMBER COUNT NAME"; a step lasts from the instruction
   at its address to the next step's, and before the first the number is -1. The instructions at begin and end are not
   counted. Interrupt handlers are left out by the caller: they are functions of their own. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu_index, void *userdata);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *insn, qemu_plugin_vcpu_udata_cb_t cb, enum qemu_plugin_cb_flags flags, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define OF_ONE_VERSION __attribute__((weak))

/* Version 1. */
OF_ONE_VERSION void qemu_plugin_register_vcpu_insn_exec_inline(
    struct qemu_plugin_insn *insn, enum qemu_plugin_op op, void *ptr, uint64_t imm);

/* Version 2: one element for each processor, found by its number; a place in it is named by its offset. */
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} qemu_plugin_u64;
OF_ONE_VERSION struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
OF_ONE_VERSION void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int vcpu_index);
OF_ONE_VERSION void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
    struct qemu_plugin_insn *insn, enum qemu_plugin_op op, qemu_plugin_u64 entry, uint64_t imm);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

__attribute__((constructor)) static void choose_version(void) {
    if (qemu_plugin_scoreboard_new != NULL) {
        qemu_plugin_version = 2;
    }
}

typedef struct {
    uint64_t start, size;
    char name[200];
} function;

typedef struct {
    uint64_t address;
    int number;
} step_label;

/* The last one is what lies in no function. */
static function *functions;
static size_t function_count;
/* Executed since the last time, by function: here, or in the scoreboard. */
static uint64_t *executed;
static struct qemu_plugin_scoreboard *scoreboard;
static step_label *labels;
static size_t label_count;
/* Per step, the one before the first step included, and function. */
static uint64_t *counts;
static int step_count, running_step;
static uint64_t begin_address, end_address;
static bool running;
static FILE *output;

static int by_start(const void *a, const void *b) {
    const uint64_t x = ((const function *)a)->start, y = ((const function *)b)->start;
    return x < y ? -1 : x > y;
}

static uint64_t *executed_on(unsigned int vcpu) {
    return scoreboard != NULL ? qemu_plugin_scoreboard_find(scoreboard, vcpu) : executed;
}

/* Its number; the one behind the last where the address lies in none. */
static size_t function_at(uint64_t address) {
    size_t low = 0, high = function_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (functions[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && address < functions[low - 1].start + functions[low - 1].size ? low - 1 : function_count;
}

static const step_label *label_at(uint64_t address) {
    for (size_t i = 0; i < label_count; i++) {
        if (labels[i].address == address) {
            return &labels[i];
        }
    }
    return NULL;
}

/* What the functions have counted since the last time belongs to the step that ran. */
static void settle(unsigned int vcpu) {
    uint64_t *of_step = counts + (size_t)(running_step + 1) * (function_count + 1), *const since = executed_on(vcpu);
    for (size_t i = 0; i <= function_count; i++) {
        of_step[i] += since[i];
        since[i] = 0;
    }
}

static void at_begin(unsigned int vcpu, void *unused) {
    (void)unused;
    memset(executed_on(vcpu), 0, (function_count + 1) * sizeof *executed);
    memset(counts, 0, (size_t)(step_count + 1) * (function_count + 1) * sizeof *counts);
    running_step = -1;
    running = true;
}

static void at_step(unsigned int vcpu, void *number) {
    settle(vcpu);
    running_step = (int)(intptr_t)number;
}

static void at_end(unsigned int vcpu, void *unused) {
    (void)unused;
    if (!running) {
        return;
    }
    running = false;
    settle(vcpu);
    uint64_t total = 0;
    const size_t all = (size_t)(step_count + 1) * (function_count + 1);
    for (size_t i = 0; i < all; i++) {
        total += counts[i];
    }
    fprintf(output, "run %" PRIu64 "\n", total);
    for (size_t i = 0; i < all; i++) {
        if (counts[i] != 0) {
            const int step = (int)(i / (function_count + 1)) - 1;
            fprintf(output, "step %d %" PRIu64 " %s\n", step, counts[i], functions[i % (function_count + 1)].name);
        }
    }
    fflush(output);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    const size_t count = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (address == begin_address) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, at_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else if (address == end_address) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, at_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
        } else {
            const step_label *label = label_at(address);
            if (label != NULL) {
                qemu_plugin_register_vcpu_insn_exec_cb(
                    insn, at_step, QEMU_PLUGIN_CB_NO_REGS, (void *)(intptr_t)label->number);
            }
            /* One more per execution of this very instruction: exact also where a block is left in the middle. */
            const size_t number = function_at(address);
            if (scoreboard != NULL) {
                const qemu_plugin_u64 place = {scoreboard, number * sizeof *executed};
                qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, place, 1);
            } else {
                qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &executed[number], 1);
            }
        }
    }
}

static int read_functions(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -1;
    }
    size_t room = 0;
    function one = {0};
    for (;;) {
        if (function_count == room) {
            room = room * 2 + 64;
            functions = realloc(functions, room * sizeof *functions);
            if (functions == NULL) {
                fclose(file);
                return -1;
            }
        }
        functions[function_count] = (function){0, 0, "?"};
        if (fscanf(file, "%" SCNx64 " %" SCNx64 " %199s", &one.start, &one.size, one.name) != 3) {
            break;
        }
        functions[function_count++] = one;
    }
    fclose(file);
    qsort(functions, function_count, sizeof *functions, by_start);
    return 0;
}

static int read_labels(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -1;
    }
    step_label one;
    while (fscanf(file, "%" SCNx64 " %d", &one.address, &one.number) == 2) {
        labels = realloc(labels, (label_count + 1) * sizeof *labels);
        if (labels == NULL || one.number < 0) {
            fclose(file);
            return -1;
        }
        labels[label_count++] = one;
        step_count = one.number >= step_count ? one.number + 1 : step_count;
    }
    fclose(file);
    return 0;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (value == NULL) {
            return -1;
        }
        value++;
        if (strncmp(argv[i], "begin=", 6) == 0) {
            begin_address = strtoull(value, NULL, 16);
        } else if (strncmp(argv[i], "end=", 4) == 0) {
            end_address = strtoull(value, NULL, 16);
        } else if (strncmp(argv[i], "functions=", 10) == 0) {
            if (read_functions(value) != 0) {
                return -1;
            }
        } else if (strncmp(argv[i], "steps=", 6) == 0) {
            if (read_labels(value) != 0) {
                return -1;
            }
        } else if (strncmp(argv[i], "output=", 7) == 0) {
            output = fopen(value, "w");
        }
    }
    if (output == NULL || begin_address == 0 || end_address == 0 || functions == NULL) {
        return -1;
    }
    counts = calloc((size_t)(step_count + 1) * (function_count + 1), sizeof *counts);
    executed = calloc(function_count + 1, sizeof *executed);
    if (counts == NULL || executed == NULL) {
        return -1;
    }
    if (qemu_plugin_version == 2) {
        scoreboard = qemu_plugin_scoreboard_new((function_count + 1) * sizeof *executed);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
