/* A plugin of QEMU (TCG) that counts the emulated program's instructions, and prints how many there were so far at every
 * getppid: a program calls that before and after what is to be counted. For one thread.
 *
 *     qemu-aarch64 -plugin ./count_instructions.so,getppid=173 PROGRAM
 *
 * Debian's packages bring no header, so what is used of docs/devel/tcg-plugins is declared here. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif
#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t Id;
typedef struct qemu_plugin_tb Block;
enum { NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, Block *));
size_t qemu_plugin_tb_n_insns(const Block *);
void qemu_plugin_register_vcpu_tb_exec_cb(Block *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_syscall_cb(Id, void (*)(Id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                      uint64_t, uint64_t, uint64_t));

EXPORTED int qemu_plugin_version = PLUGIN_VERSION;

static uint64_t counted;
static int64_t marker = -1;

static void ran(unsigned processor, void *count) {
    (void)processor;
    counted += (uintptr_t)count;
}

static void translated(Id id, Block *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, ran, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(Id id, unsigned processor, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)processor, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == marker) fprintf(stderr, "instructions %" PRIu64 "\n", counted);
}

EXPORTED int qemu_plugin_install(Id id, const void *about, int count, char **options) {
    (void)about;
    for (int i = 0; i < count; i++)
        if (strncmp(options[i], "getppid=", 8) == 0) marker = atoll(options[i] + 8);
    if (marker < 0) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
