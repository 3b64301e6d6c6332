/* QEMU TCG plugin (plugin API version 1, QEMU 4.2 to 8.2): counts the instructions executed between two addresses, in
   all and per function. Distributions ship no header for it, so what is used is declared here, as in QEMU's
   documentation of the API ("QEMU TCG Plugins").

   Arguments: begin=ADDRESS, end=ADDRESS, functions=FILE (lines "START SIZE NAME", numbers hexadecimal),
   output=FILE. Every arrival at end after one at begin adds a line "run COUNT" and, per function executed, a line
   "function COUNT NAME". The instructions at begin and end are not counted. Interrupt handlers are left out by the
   caller: they are functions of their own. */
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

static function *functions;
static size_t function_count;
static function elsewhere = {0, 0, 0, "?"};
static uint64_t begin_address, end_address;
static bool running;
static FILE *output;

static int by_start(const void *a, const void *b) {
    const uint64_t x = ((const function *)a)->start, y = ((const function *)b)->start;
    return x < y ? -1 : x > y;
}

static function *function_at(uint64_t address) {
    size_t low = 0, high = function_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (functions[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && address < functions[low - 1].start + functions[low - 1].size ? &functions[low - 1] : &elsewhere;
}

static void at_begin(unsigned int vcpu, void *unused) {
    (void)vcpu;
    (void)unused;
    for (size_t i = 0; i < function_count; i++) {
        functions[i].count = 0;
    }
    elsewhere.count = 0;
    running = true;
}

static void at_end(unsigned int vcpu, void *unused) {
    (void)vcpu;
    (void)unused;
    if (!running) {
        return;
    }
    running = false;
    uint64_t total = elsewhere.count;
    for (size_t i = 0; i < function_count; i++) {
        total += functions[i].count;
    }
    fprintf(output, "run %" PRIu64 "\n", total);
    for (size_t i = 0; i < function_count; i++) {
        if (functions[i].count != 0) {
            fprintf(output, "function %" PRIu64 " %s\n", functions[i].count, functions[i].name);
        }
    }
    if (elsewhere.count != 0) {
        fprintf(output, "function %" PRIu64 " ?\n", elsewhere.count);
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
    while (fscanf(file, "%" SCNx64 " %" SCNx64 " %199s", &one.start, &one.size, one.name) == 3) {
        if (function_count == room) {
            room = room * 2 + 64;
            functions = realloc(functions, room * sizeof *functions);
            if (functions == NULL) {
                fclose(file);
                return -1;
            }
        }
        functions[function_count++] = one;
    }
    fclose(file);
    qsort(functions, function_count, sizeof *functions, by_start);
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
        } else if (strncmp(argv[i], "output=", 7) == 0) {
            output = fopen(value, "w");
        }
    }
    if (output == NULL || begin_address == 0 || end_address == 0) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
