/* The external delegate: takes the operators of Larq Compute Engine's set in every subgraph, and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "operators.h"
#include "pool.h"
#include "tflite_abi.h"

#define EXPORTED __attribute__((visibility("default")))

enum { CUSTOM = 32, MOST_THREADS = 64 };

typedef struct {
    TfLiteDelegate delegate;
    const Kernels *kernels;
    Pool *pool;
} State;

/* Adjacent nodes that were merged into one. What passes between them lies in temporaries of that node. */
typedef struct {
    State *state;
    int count;
    Operator operators[];
} Group;

static bool is_ours(const TfLiteNode *node, const TfLiteRegistration *registration) {
    return registration->builtin_code == CUSTOM && kind_of(registration->custom_name) != UNKNOWN &&
           node->inputs->size == inputs_of(kind_of(registration->custom_name)) && node->outputs->size == 1;
}

static void free_group(TfLiteContext *context, void *data) {
    (void)context;
    Group *group = data;
    if (group == NULL) return;
    for (int i = 0; i < group->count; i++) free_operator(&group->operators[i]);
    free(group);
}

static void *init_group(TfLiteContext *context, const char *buffer, size_t length) {
    (void)length;
    const TfLiteDelegateParams *params = (const TfLiteDelegateParams *)(const void *)buffer;
    const int count = params->nodes_to_replace->size;
    Group *group = calloc(1, sizeof *group + (size_t)count * sizeof(Operator));
    if (group == NULL) return NULL;
    group->state = params->delegate->data;
    for (int i = 0; i < count; i++) {
        TfLiteNode *node;
        TfLiteRegistration *registration;
        if (context->GetNodeAndRegistration(context, params->nodes_to_replace->data[i], &node, &registration) != TFLITE_OK ||
            !is_ours(node, registration)) {
            free(group);
            return NULL;
        }
        Operator *op = &group->operators[i];
        op->kind = kind_of(registration->custom_name);
        for (int j = 0; j < node->inputs->size; j++) {
            op->inputs[j] = node->inputs->data[j];
            if (op->inputs[j] >= (int)context->tensors_size) op->inputs[j] = -1;
        }
        op->output = node->outputs->data[0];
        op->options = node->custom_initial_data;
        op->options_size = node->custom_initial_data_size > 0 ? (size_t)node->custom_initial_data_size : 0;
    }
    group->count = count;
    return group;
}

static bool holds(const TfLiteIntArray *array, int value) {
    for (int i = 0; array != NULL && i < array->size; i++)
        if (array->data[i] == value) return true;
    return false;
}

static int prepare_group(TfLiteContext *context, TfLiteNode *node) {
    Group *group = node->user_data;
    if (group == NULL) return TFLITE_ERROR;
    State *state = group->state;
    int threads = context->recommended_num_threads;
    threads = threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    if (threads > pool_threads(state->pool)) {
        pool_free(state->pool);
        state->pool = pool_new(threads);
    }
    if (threads < pool_threads(state->pool)) threads = pool_threads(state->pool);
    TfLiteIntArray *between = malloc(sizeof *between + (size_t)group->count * sizeof(int));
    if (between == NULL) return TFLITE_ERROR;
    between->size = 0;
    for (int i = 0; i < group->count; i++) {
        if (prepare_operator(context, &group->operators[i], state->kernels, threads) != TFLITE_OK) {
            free(between);
            return TFLITE_ERROR;
        }
        if (!holds(node->outputs, group->operators[i].output)) between->data[between->size++] = group->operators[i].output;
    }
    free(node->temporaries);
    node->temporaries = between;
    return TFLITE_OK;
}

static int run_group(TfLiteContext *context, TfLiteNode *node) {
    Group *group = node->user_data;
    for (int i = 0; i < group->count; i++)
        run_operator(context, &group->operators[i], group->state->kernels, group->state->pool);
    return TFLITE_OK;
}

static int prepare_delegate(TfLiteContext *context, TfLiteDelegate *delegate) {
    TfLiteIntArray *plan;
    if (context->GetExecutionPlan(context, &plan) != TFLITE_OK) return TFLITE_ERROR;
    TfLiteIntArray *ours = malloc(sizeof *ours + (size_t)plan->size * sizeof(int));
    int *nodes = malloc(sizeof(int) * (size_t)(plan->size + 1));
    int status = TFLITE_ERROR;
    if (ours != NULL && nodes != NULL) {
        const int count = plan->size;
        memcpy(nodes, plan->data, sizeof(int) * (size_t)count); /* later calls write over the plan */
        ours->size = 0;
        for (int i = 0; i < count; i++) {
            TfLiteNode *node;
            TfLiteRegistration *registration;
            if (context->GetNodeAndRegistration(context, nodes[i], &node, &registration) != TFLITE_OK) break;
            if (is_ours(node, registration)) ours->data[ours->size++] = nodes[i];
        }
        const TfLiteRegistration group = {.init = init_group,
                                          .free = free_group,
                                          .prepare = prepare_group,
                                          .invoke = run_group,
                                          .builtin_code = 0,
                                          .custom_name = "MultigraftBinary",
                                          .version = 1};
        status = ours->size == 0 ? TFLITE_OK
                                 : context->ReplaceNodeSubsetsWithDelegateKernels(context, group, ours, delegate);
    }
    free(nodes);
    free(ours);
    return status;
}

static const Kernels *chosen(const char *name) {
    const Kernels *kernels;
    for (int i = 0; (kernels = available_kernels(i)) != NULL; i++)
        if (name == NULL || *name == 0 || strcmp(name, kernels->name) == 0) return kernels;
    return NULL;
}

/* Name of the i-th set of kernels that this processor runs, best first; NULL behind the last. */
EXPORTED const char *multigraft_binary_kernels(int i) {
    const Kernels *kernels = i < 0 ? NULL : available_kernels(i);
    return kernels == NULL ? NULL : kernels->name;
}

EXPORTED TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values, size_t count,
                                                       void (*report_error)(const char *)) {
    const char *name = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i], "kernels") == 0) name = values[i];
    State *state = calloc(1, sizeof *state);
    if (state != NULL && (state->kernels = chosen(name)) != NULL) {
        state->delegate.data = state;
        state->delegate.Prepare = prepare_delegate;
        state->delegate.flags = TFLITE_ALLOW_DYNAMIC_TENSORS;
        return &state->delegate;
    }
    if (report_error != NULL) report_error("this processor does not run the kernels that were asked for");
    free(state);
    return NULL;
}

EXPORTED void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate) {
    if (delegate == NULL) return;
    State *state = delegate->data;
    pool_free(state->pool);
    free(state);
}
