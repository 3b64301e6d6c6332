/* Between the model, the serial applications and main(). */
#ifndef MG_APP_H
#define MG_APP_H
#include <stdint.h>

/* app_config.h and app_model.c are written by the generator: which tensors there are. */
#include "app_config.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;
    uint32_t bytes;
    float scale; /* real = scale * (stored - zero_point); 0 if not quantised */
    int32_t zero_point;
    uint8_t dtype; /* MG_DTYPE_... */
    uint8_t rank;
    uint32_t shape[6];
} app_tensor;

typedef struct {
    const char *name;
    uint32_t outputs; /* Bit n: output n. */
} app_task;

extern const app_tensor app_inputs[APP_INPUTS];
extern const app_tensor app_outputs[APP_OUTPUTS];
extern const app_task app_tasks[APP_TASKS];
extern const uint8_t app_model_digest[32];

#if defined(APP_EXITS)
typedef struct {
    const mg_exit_state *state;
    uint8_t task;
    uint8_t number;              /* Which of the exits of its task, from 1 on. */
    uint8_t output, said, whole; /* Outputs: its answer, what tells who answered, and the whole network's answer. */
} app_exit;
extern const app_exit app_exits[APP_EXITS];

/* All counts and audits begin anew. */
void app_open_exits(void);
#endif

#if !defined(MODEL_READS_STAGED)
static inline void *app_input(uint32_t number) {
    return model_inputs[number].data;
}
#endif

static inline const void *app_output(uint32_t number) {
    return model_outputs[number].data;
}

#define APP_ALL_TASKS (0xffffffffu >> (32 - APP_TASKS))

/* What the next inference reads, all inputs in order. The model may overwrite its own inputs while it runs. */
extern uint8_t app_staged[APP_INPUT_BYTES];

/* Runs the tasks of the mask on the staged inputs; 0 on success. Processor cycles of the model alone. */
int app_infer(uint32_t tasks, uint64_t *cycles);

#if defined(MODEL_PROFILE)
extern uint32_t app_step_cycles[MODEL_STEP_COUNT]; /* Of the last inference; 0 for steps that were not needed. */
#endif

/* The model runs between these two; they do nothing and are there to be watched. */
void app_marker_begin(void);
void app_marker_end(void);

/* Once at the beginning, and then again and again: the device answers in between. */
void app_setup(void);
void app_turn(void);

/* A serial application. */
void app_start(void);
void app_receive(uint8_t byte);
void app_idle(void);

/* A camera: define mg_camera_frame in a file of your own to take a picture; 0, or a negative number if that failed. Its
   pixels (rows from the top, 1 byte per channel, grey or RGB) have to stay until the next call. */
typedef struct {
    const uint8_t *pixels;
    uint16_t height;
    uint16_t width;
    uint8_t channels; /* 1 or 3 */
} mg_picture;
int mg_camera_frame(mg_picture *picture);

/* A microphone, for models that hear: define mg_microphone in a file of your own to write up to as many samples as there
   is room for, at SOUND_RATE_HZ of sound.h. Their number; 0 if there is none yet. */
int mg_microphone(int16_t *samples, uint32_t most);

/* A sensor: overwrite this to fill app_staged before each streamed inference. */
void app_sense(uint8_t *staged);

#ifdef __cplusplus
}
#endif

#endif
