/* The framed protocol of core/serial_protocol.py on the model. */
#include <string.h>

#include "app.h"
#include "frames.h"
#include "port.h"
#if defined(APP_UPDATE)
#include "update.h"
#endif
#if defined(APP_SOUND)
#include "sound.h"
#endif

typedef struct {
    uint32_t inferences;
    uint32_t elements;
    int32_t smallest;
    int32_t largest;
    int64_t sum;
    uint64_t squares;
} statistics;

static mg_decoder decoder;
static statistics input_statistics[APP_INPUTS];
static statistics output_statistics[APP_OUTPUTS];
static uint32_t stream_tasks, stream_left;
static uint16_t stream_sequence;
static mg_picture picture;

/* The last reply, in case it gets lost on the wire and is asked for again. */
static struct {
    uint32_t valid;
    uint32_t crc;
    uint16_t sequence;
    uint8_t kind;
    uint32_t length;
    uint8_t payload[MG_MAX_PAYLOAD];
} last;

static void clear(statistics *s) {
    memset(s, 0, sizeof *s);
    s->smallest = INT32_MAX;
    s->largest = INT32_MIN;
}

static void gather(statistics *s, const app_tensor *tensor, const uint8_t *data) {
    if (tensor->dtype > MG_DTYPE_UINT8) {
        return;
    }
    int32_t smallest = s->smallest, largest = s->largest, sum = 0;
    uint64_t squares = 0;
    for (uint32_t i = 0; i < tensor->bytes; i++) {
        const int32_t value = tensor->dtype == MG_DTYPE_INT8 ? (int8_t)data[i] : data[i];
        smallest = value < smallest ? value : smallest;
        largest = value > largest ? value : largest;
        sum += value;
        squares += (uint32_t)(value * value);
    }
    s->smallest = smallest;
    s->largest = largest;
    s->sum += sum;
    s->squares += squares;
    s->elements += tensor->bytes;
    s->inferences++;
}

static uint32_t outputs_of(uint32_t tasks) {
    uint32_t outputs = 0;
    for (uint32_t i = 0; i < APP_TASKS; i++) {
        if ((tasks >> i & 1u) != 0) {
            outputs |= app_tasks[i].outputs;
        }
    }
    return outputs;
}

#if defined(APP_SOUND)
static uint32_t rows_heard;
static uint32_t hearing; /* Bit n: input n is made of what was heard. Writing it ends that until more is heard. */

static void hear(const int16_t *samples, uint32_t count) {
    rows_heard += (uint32_t)sound_hear(samples, (int32_t)count);
    hearing = 0xffffffffu;
}

static void stage_sound(void) {
    uint8_t *to = app_staged;
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        if ((hearing >> i & 1u) != 0) {
            sound_input(i, (int8_t *)to);
        }
        to += app_inputs[i].bytes;
    }
}

/* No microphone: streams answer what was heard last. */
__attribute__((weak)) int mg_microphone(int16_t *samples, uint32_t most) {
    (void)samples;
    (void)most;
    return -1;
}

/* Whether there is something new to answer: a row, or no microphone to wait for. */
static int listen(void) {
    static int16_t samples[64];
    const uint32_t rows = rows_heard;
    for (;;) {
        const int count = mg_microphone(samples, sizeof samples / sizeof samples[0]);
        if (count <= 0) {
            return count < 0;
        }
        hear(samples, (uint32_t)count);
        if (rows_heard != rows) {
            return 1;
        }
    }
}
#endif

static int run(uint32_t tasks, uint64_t *cycles) {
#if defined(APP_SOUND)
    stage_sound();
#endif
    const uint8_t *staged = app_staged;
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        gather(&input_statistics[i], &app_inputs[i], staged);
        staged += app_inputs[i].bytes;
    }
    if (app_infer(tasks, cycles) != 0) {
        return -1;
    }
    const uint32_t outputs = outputs_of(tasks);
    for (uint32_t i = 0; i < APP_OUTPUTS; i++) {
        if ((outputs >> i & 1u) != 0) {
            gather(&output_statistics[i], &app_outputs[i], app_output(i));
        }
    }
    return 0;
}

static uint32_t microseconds(uint64_t cycles) {
    return (uint32_t)(cycles / (CORE_CLOCK_HZ / 1000000u));
}

static uint8_t *put_text(uint8_t *p, const char *text, uint32_t room) {
    uint32_t i = 0;
    for (; i + 1 < room && text[i] != '\0'; i++) {
        p[i] = (uint8_t)text[i];
    }
    memset(p + i, 0, room - i);
    return p + room;
}

static uint8_t *put_tensor(uint8_t *p, const app_tensor *tensor) {
    uint32_t scale;
    memcpy(&scale, &tensor->scale, sizeof scale);
    *p++ = tensor->dtype;
    *p++ = tensor->rank;
    p = mg_put32(p, tensor->bytes);
    p = mg_put32(p, scale);
    p = mg_put32(p, (uint32_t)tensor->zero_point);
    for (uint32_t i = 0; i < 6; i++) {
        p = mg_put32(p, tensor->shape[i]);
    }
    return put_text(p, tensor->name, 32);
}

/* Each request writes its answer to out and returns how many bytes, or minus an error code. */
typedef int32_t answer;
static answer refused(uint32_t code) {
    return -(int32_t)code;
}
static answer written(const uint8_t *from, const uint8_t *to) {
    return (answer)(to - from);
}

static answer do_info(uint8_t *out) {
    uint8_t *p = out;
    uint32_t flags = 0;
#if defined(APP_UPDATE)
    flags |= MG_FLAG_UPDATE;
#endif
#if defined(MODEL_PROFILE)
    flags |= MG_FLAG_PROFILE;
#endif
#if defined(MODEL_VARIABLE_BYTES)
    flags |= MG_FLAG_VARIABLES;
#endif
#if defined(APP_SOUND)
    flags |= MG_FLAG_SOUND;
#endif
#if defined(APP_EXITS)
    flags |= MG_FLAG_EXITS;
#endif
#if defined(MODEL_LEARN_CLASSES)
    flags |= MG_FLAG_LEARNS;
#endif
    *p++ = MG_VERSION;
    *p++ = (uint8_t)MG_MAX_PAYLOAD;
    *p++ = (uint8_t)(MG_MAX_PAYLOAD >> 8);
    *p++ = (uint8_t)flags;
    *p++ = (uint8_t)(flags >> 8);
    *p++ = APP_INPUTS;
    *p++ = APP_OUTPUTS;
    *p++ = APP_TASKS;
    p = mg_put32(p, CORE_CLOCK_HZ);
    memcpy(p, app_model_digest, sizeof app_model_digest);
    p += sizeof app_model_digest;
    p = put_text(p, BOARD_NAME, 32);
    p = put_text(p, APP_MODEL_NAME, 24);
    return written(out, p);
}

static answer do_describe(const uint8_t *in, uint8_t *out) {
    const uint32_t number = in[1];
    if (in[0] == MG_DESCRIBED_INPUT && number < APP_INPUTS) {
        return written(out, put_tensor(out, &app_inputs[number]));
    }
    if (in[0] == MG_DESCRIBED_OUTPUT && number < APP_OUTPUTS) {
        return written(out, put_tensor(out, &app_outputs[number]));
    }
    if (in[0] == MG_DESCRIBED_TASK && number < APP_TASKS) {
        return written(out, put_text(mg_put32(out, app_tasks[number].outputs), app_tasks[number].name, 32));
    }
    return refused(MG_ERROR_OUT_OF_RANGE);
}

static answer do_write(const uint8_t *in, uint32_t length) {
    const uint32_t number = in[0], offset = mg_get32(in + 1), count = length - MG_WRITE_REQUEST_BYTES;
    if (number >= APP_INPUTS || count > app_inputs[number].bytes || offset > app_inputs[number].bytes - count) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    uint8_t *to = app_staged + offset;
    for (uint32_t i = 0; i < number; i++) {
        to += app_inputs[i].bytes;
    }
    memcpy(to, in + MG_WRITE_REQUEST_BYTES, count);
#if defined(APP_SOUND)
    hearing &= ~(1u << number);
#endif
    return 0;
}

#if defined(APP_SOUND)
static answer do_hear(const uint8_t *in, uint32_t length, uint8_t *out) {
    static int16_t samples[MG_MAX_PAYLOAD / 2];
    const uint32_t count = (length - MG_HEAR_REQUEST_BYTES) / 2;
    if (in[0] != 0) {
        sound_reset();
        rows_heard = 0;
    }
    in += MG_HEAR_REQUEST_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        samples[i] = (int16_t)(in[2 * i] | in[2 * i + 1] << 8);
    }
    hear(samples, count);
    return written(out, mg_put32(out, rows_heard));
}
#endif

static answer do_infer(const uint8_t *in, uint8_t *out) {
    const uint32_t tasks = mg_get32(in);
    if (tasks == 0 || (tasks & ~APP_ALL_TASKS) != 0) {
        return refused(MG_ERROR_NO_SUCH_TASK);
    }
    uint64_t cycles;
    if (run(tasks, &cycles) != 0) {
        return refused(MG_ERROR_MODEL_FAILED);
    }
    return written(out, mg_put32(mg_put64(mg_put32(out, tasks), cycles), microseconds(cycles)));
}

static answer do_read(const uint8_t *in, uint8_t *out) {
    const uint32_t number = in[0], offset = mg_get32(in + 1), count = in[5];
    if (number >= APP_OUTPUTS || count > MG_MAX_PAYLOAD || count > app_outputs[number].bytes ||
        offset > app_outputs[number].bytes - count) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    memcpy(out, (const uint8_t *)app_output(number) + offset, count);
    return (answer)count;
}

static answer do_stream(const uint8_t *in) {
    const uint32_t tasks = mg_get32(in), events = mg_get32(in + 4);
    if (events > 0 && (tasks == 0 || (tasks & ~APP_ALL_TASKS) != 0)) {
        return refused(MG_ERROR_NO_SUCH_TASK);
    }
    stream_tasks = tasks;
    stream_left = events;
    stream_sequence = 0;
    return 0;
}

static answer do_statistics(const uint8_t *in, uint8_t *out) {
    const uint32_t number = in[1];
    statistics *s;
    if (in[0] == MG_DESCRIBED_INPUT && number < APP_INPUTS) {
        s = &input_statistics[number];
    } else if (in[0] == MG_DESCRIBED_OUTPUT && number < APP_OUTPUTS) {
        s = &output_statistics[number];
    } else {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    uint8_t *p = mg_put32(mg_put32(out, s->inferences), s->elements);
    p = mg_put32(mg_put32(p, (uint32_t)s->smallest), (uint32_t)s->largest);
    p = mg_put64(mg_put64(p, (uint64_t)s->sum), s->squares);
    if (in[2] != 0) {
        clear(s);
    }
    return written(out, p);
}

static answer do_memory(uint8_t *out) {
    uint8_t *p = mg_put32(mg_put32(out, port_flash_used()), FLASH_CAPACITY);
    p = mg_put32(mg_put32(p, port_ram_used()), RAM_CAPACITY);
    return written(out, mg_put32(mg_put32(p, APP_ARENA_BYTES), port_stack_peak()));
}

static answer do_reset_reason(uint8_t *out) {
    out[0] = (uint8_t)port_reset_reason();
    return written(out, mg_put32(mg_put32(out + 1, port_reset_record.program_counter), port_reset_record.status));
}

/* No camera: the picture stays empty. */
__attribute__((weak)) int mg_camera_frame(mg_picture *taken) {
    (void)taken;
    return 0;
}

#if defined(MODEL_FRAME_HEIGHT)
/* Streams answer what the camera sees, if its pictures are as large as the model's frame. */
static void look(void) {
    mg_picture seen = {0};
    if (mg_camera_frame(&seen) >= 0 && seen.pixels != NULL && seen.height == MODEL_FRAME_HEIGHT &&
        seen.width == MODEL_FRAME_WIDTH && seen.channels == MODEL_FRAME_CHANNELS) {
        memcpy(app_staged, seen.pixels, app_inputs[0].bytes);
    }
}
#endif

static answer do_capture(uint8_t *out) {
    memset(&picture, 0, sizeof picture);
    mg_picture taken = {0};
    if (mg_camera_frame(&taken) < 0) {
        return refused(MG_ERROR_CAMERA_FAILED);
    }
    if (taken.pixels == NULL) {
        return refused(MG_ERROR_NO_CAMERA);
    }
    picture = taken;
    out[0] = (uint8_t)taken.height;
    out[1] = (uint8_t)(taken.height >> 8);
    out[2] = (uint8_t)taken.width;
    out[3] = (uint8_t)(taken.width >> 8);
    out[4] = taken.channels;
    return MG_CAPTURE_REPLY_BYTES;
}

static answer do_read_picture(const uint8_t *in, uint8_t *out) {
    const uint32_t offset = mg_get32(in), count = in[4];
    const uint32_t bytes = (uint32_t)picture.height * picture.width * picture.channels;
    if (count > MG_MAX_PAYLOAD || count > bytes || offset > bytes - count) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    if (count > 0) {
        memcpy(out, picture.pixels + offset, count);
    }
    return (answer)count;
}

#if defined(APP_EXITS)
static answer do_exit(const uint8_t *in, uint8_t *out) {
    if (in[0] >= APP_EXITS) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    const app_exit *const asked = &app_exits[in[0]];
    const mg_exit_state *const state = asked->state;
    uint8_t *p = out;
    *p++ = APP_EXITS;
    *p++ = asked->task;
    *p++ = asked->number;
    *p++ = asked->output;
    *p++ = asked->said;
    *p++ = asked->whole;
    *p++ = state->is_open;
    *p++ = state->is_in_doubt;
    p = mg_put32(mg_put32(p, state->reached), state->taken);
    p = mg_put32(mg_put32(p, state->audited), state->disagreed);
    return written(out, put_text(p, state->name, 32));
}
#endif
