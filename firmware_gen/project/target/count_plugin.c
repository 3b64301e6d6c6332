/* QEMU TCG plugin (plugin API version 1, QEMU 4.2 to 8.2): counts the instructions executed between two addresses, in
   all, per function and per step. Distributions ship no header for it, so what is used is declared here, as in QEMU's
   documentation of the API ("QEMU TCG Plugins").

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
void qemu_plugin_register_vcpu_insn_exec_inline(
    struct qemu_plugin_insn *insn, enum qemu_plugin_op op, void *ptr, uint64_t imm);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

typedef struct {
    uint64_t start, size, count;
    char name[200];
} function;

typedef struct {
    uint64_t address;
    int number;
} step_label;

/* The last one is what lies in no function. */
static function *functions;
static size_t function_count;
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

static function *function_at(uint64_t address) {
    function *const elsewhere = &functions[function_count];
    size_t low = 0, high = function_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (functions[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && address < functions[low - 1].start + functions[low - 1].size ? &functions[low - 1] : elsewhere;
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
static void settle(void) {
    uint64_t *of_step = counts + (size_t)(running_step + 1) * (function_count + 1);
    for (size_t i = 0; i <= function_count; i++) {
        of_step[i] += functions[i].count;
        functions[i].count = 0;
    }
}

static void at_begin(unsigned int vcpu, void *unused) {
    (void)vcpu;
    (void)unused;
    for (size_t i = 0; i <= function_count; i++) {
        functions[i].count = 0;
    }
    memset(counts, 0, (size_t)(step_count + 1) * (function_count + 1) * sizeof *counts);
    running_step = -1;
    running = true;
}

static void at_step(unsigned int vcpu, void *number) {
    (void)vcpu;
    settle();
    running_step = (int)(intptr_t)number;
}

static void at_end(unsigned int vcpu, void *unused) {
    (void)vcpu;
    (void)unused;
    if (!running) {
        return;
    }
    running = false;
    settle();
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
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &function_at(address)->count, 1);
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
        functions[function_count] = (function){0, 0, 0, "?"};
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
    if (counts == NULL) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
