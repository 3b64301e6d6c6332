/* The structs of TensorFlow Lite's C interface that an external delegate touches, as they lie in memory.
 *
 * No wheel ships the headers. Layouts: tensorflow/lite/core/c/common.h of 2.14, the same in LiteRT 2.3. Only the leading
 * fields of a struct that the interpreter allocates are declared. Behind those that we allocate lie zeros: what a later
 * version adds there is nothing. */
#ifndef MULTIGRAFT_TFLITE_ABI_H
#define MULTIGRAFT_TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TFLITE_OK = 0, TFLITE_ERROR = 1 };
enum { TFLITE_FLOAT32 = 1, TFLITE_INT32 = 2, TFLITE_BOOL = 6, TFLITE_INT8 = 9 };
enum { TFLITE_CONSTANT = 1 };          /* kTfLiteMmapRo */
enum { TFLITE_ALLOW_DYNAMIC_TENSORS = 1 };

typedef struct TfLiteIntArray {
    int size;
    int data[];
} TfLiteIntArray;

typedef struct TfLiteDelegate TfLiteDelegate;
typedef struct TfLiteContext TfLiteContext;

typedef struct TfLiteTensor {
    int type;
    void *data;
    TfLiteIntArray *dims;
    float scale;
    int32_t zero_point;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    TfLiteDelegate *delegate;
    int buffer_handle;
    bool data_is_stale;
    bool is_variable;
    int quantization_type;
    void *quantization_params;
    void *sparsity;
    const TfLiteIntArray *dims_signature;
} TfLiteTensor;

typedef struct TfLiteNode {
    TfLiteIntArray *inputs;
    TfLiteIntArray *outputs;
    TfLiteIntArray *intermediates;
    TfLiteIntArray *temporaries;
    void *user_data;
    void *builtin_data;
    const void *custom_initial_data;
    int custom_initial_data_size;
    TfLiteDelegate *delegate;
} TfLiteNode;

typedef struct TfLiteRegistration {
    void *(*init)(TfLiteContext *, const char *, size_t);
    void (*free)(TfLiteContext *, void *);
    int (*prepare)(TfLiteContext *, TfLiteNode *);
    int (*invoke)(TfLiteContext *, TfLiteNode *);
    const char *(*profiling_string)(const TfLiteContext *, const TfLiteNode *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *(*async_kernel)(TfLiteContext *, TfLiteNode *);
    uint64_t inplace_operator;
#if UINTPTR_MAX > UINT32_MAX
    void *zeros[16]; /* 32-bit Arm hands it over by value in front of other arguments: there the size has to be the same */
#endif
} TfLiteRegistration;

struct TfLiteContext {
    size_t tensors_size;
    int (*GetExecutionPlan)(TfLiteContext *, TfLiteIntArray **);
    TfLiteTensor *tensors;
    void *impl;
    int (*ResizeTensor)(TfLiteContext *, TfLiteTensor *, TfLiteIntArray *);
    void (*ReportError)(TfLiteContext *, const char *, ...);
    int (*AddTensors)(TfLiteContext *, int, int *);
    int (*GetNodeAndRegistration)(TfLiteContext *, int, TfLiteNode **, TfLiteRegistration **);
    int (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext *, TfLiteRegistration, const TfLiteIntArray *,
                                                 TfLiteDelegate *);
    int recommended_num_threads;
};

typedef struct TfLiteDelegateParams {
    TfLiteDelegate *delegate;
    TfLiteIntArray *nodes_to_replace;
    TfLiteIntArray *input_tensors;
    TfLiteIntArray *output_tensors;
} TfLiteDelegateParams;

struct TfLiteDelegate {
    void *data;
    int (*Prepare)(TfLiteContext *, TfLiteDelegate *);
    int (*CopyFromBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
    int (*CopyToBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
    void (*FreeBufferHandle)(TfLiteContext *, TfLiteDelegate *, int *);
    int64_t flags;
    void *opaque_delegate_builder;
    void *zeros[16];
};

#endif
