/* Runs one 3x3 convolution with stride 1, packed to packed, without an interpreter: for instruction counts under an emulator
 * and for the time of the kernels alone.
 *
 *     one_layer KERNELS SIZE CHANNELS TIMES   prints the least and the median of the runs' nanoseconds */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conv.h"
#include "flexbuffer.h"

static int channels;

bool flexbuffer_number(const uint8_t *data, size_t size, const char *key, int32_t *value) {
    (void)data;
    (void)size;
    *value = strcmp(key, "channels_in") == 0                                                ? channels
             : strcmp(key, "padding") == 0 || strcmp(key, "fused_activation_function") == 0 ? 0
                                                                                            : 1;
    return true;
}

static int resized(TfLiteContext *context, TfLiteTensor *tensor, TfLiteIntArray *dims) {
    (void)context;
    size_t n = 4;
    for (int i = 0; i < dims->size; i++) n *= (size_t)dims->data[i];
    tensor->dims = dims;
    tensor->data = calloc(n, 1);
    return tensor->data == NULL;
}

static void told(TfLiteContext *context, const char *format, ...) {
    (void)context;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

static TfLiteIntArray *shape(int rank, const int *of) {
    TfLiteIntArray *dims = malloc(sizeof *dims + (size_t)rank * sizeof(int));
    if (dims == NULL) exit(1);
    dims->size = rank;
    memcpy(dims->data, of, (size_t)rank * sizeof(int));
    return dims;
}

static TfLiteTensor filled(int rank, const int *of, int is_constant) {
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)of[i];
    uint32_t *words = malloc(4 * n);
    if (words == NULL) exit(1);
    for (size_t i = 0; i < n; i++) words[i] = is_constant == 2 ? (uint32_t)channels * 9 / 2 : (uint32_t)rand() * 2654435761u;
    return (TfLiteTensor){.type = TFLITE_INT32, .data = words, .dims = shape(rank, of), .bytes = 4 * n,
                          .allocation_type = is_constant ? TFLITE_CONSTANT : 0};
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const Kernels *kernels = NULL;
    for (int i = 0; (kernels = available_kernels(i)) != NULL && strcmp(kernels->name, arguments[1]) != 0; i++) continue;
    const int size = atoi(arguments[2]), times = atoi(arguments[4]);
    channels = atoi(arguments[3]);
    if (kernels == NULL || size < 1 || channels < 1 || times < 1) return 2;
    const int words = (channels - 1) / 32 + 1;
    TfLiteTensor tensors[4] = {filled(4, (const int[]){1, size, size, words}, 0), filled(4, (const int[]){channels, 3, 3, words}, 1),
                               filled(1, &channels, 2), {.type = TFLITE_INT32}};
    tensors[3].dims = shape(4, (const int[]){1, size, size, words});
    TfLiteContext context = {.tensors_size = 4, .tensors = tensors, .ResizeTensor = resized, .ReportError = told};
    Operator op = {.kind = BCONV, .inputs = {0, 1, -1, -1, 2}, .output = 3};
    if (prepare_operator(&context, &op, kernels, 1) != TFLITE_OK) return 1;
    int64_t *took = calloc((size_t)times, sizeof *took);
    if (took == NULL) return 1;
    for (int i = 0; i < times; i++) {
        const int64_t begin = now();
        run_operator(&context, &op, kernels, NULL);
        took[i] = now() - begin;
    }
    qsort(took, (size_t)times, sizeof *took, ascending);
    printf("%s %dx%dx%d: %lld ns at least, median %lld ns\n", kernels->name, size, size, channels, (long long)took[0],
           (long long)took[times / 2]);
    return 0;
}
