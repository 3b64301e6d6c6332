static answer execute(const mg_frame *frame, uint8_t *out) {
    static const struct {
        uint8_t kind;
        uint8_t length;
        uint8_t more; /* Data may follow. */
    } requests[] = {
        {MG_KIND_INFO, 0, 0},
        {MG_KIND_DESCRIBE, 2, 0},
        {MG_KIND_WRITE_INPUT, MG_WRITE_REQUEST_BYTES, 1},
        {MG_KIND_INFER, MG_INFER_REQUEST_BYTES, 0},
        {MG_KIND_READ_OUTPUT, MG_READ_REQUEST_BYTES, 0},
        {MG_KIND_STREAM, MG_STREAM_REQUEST_BYTES, 0},
        {MG_KIND_STATISTICS, MG_STATISTICS_REQUEST_BYTES, 0},
        {MG_KIND_MEMORY, 0, 0},
        {MG_KIND_RESET_REASON, 0, 0},
        {MG_KIND_RESET, 0, 0},
        {MG_KIND_CAPTURE, 0, 0},
        {MG_KIND_READ_PICTURE, MG_READ_PICTURE_REQUEST_BYTES, 0},
#if defined(APP_SOUND)
        {MG_KIND_HEAR, MG_HEAR_REQUEST_BYTES, 1},
#endif
#if defined(MODEL_PROFILE)
        {MG_KIND_PROFILE, 1, 0},
#endif
#if defined(MODEL_VARIABLE_BYTES) || defined(APP_EXITS)
        {MG_KIND_FORGET, 0, 0},
#endif
#if defined(APP_EXITS)
        {MG_KIND_EXIT, MG_EXIT_REQUEST_BYTES, 0},
#endif
#if defined(MODEL_LEARN_CLASSES)
        {MG_KIND_LEARNING, MG_LEARNING_REQUEST_BYTES, 0},
        {MG_KIND_LEARN, MG_LEARN_REQUEST_BYTES, 0},
        {MG_KIND_SOLVE, 0, 0},
        {MG_KIND_UNLEARN, 0, 0},
        {MG_KIND_READ_LEARNT, MG_READ_LEARNT_REQUEST_BYTES, 0},
        {MG_KIND_WRITE_LEARNT, MG_WRITE_LEARNT_REQUEST_BYTES, 1},
#endif
#if defined(APP_UPDATE)
        {MG_KIND_UPDATE_SLOTS, 0, 0},
        {MG_KIND_UPDATE_BEGIN, MG_UPDATE_BEGIN_REQUEST_BYTES, 0},
        {MG_KIND_UPDATE_WRITE, MG_UPDATE_WRITE_REQUEST_BYTES, 1},
        {MG_KIND_UPDATE_COMMIT, 0, 0},
#endif
    };
    if (frame->version != MG_VERSION) {
        return refused(MG_ERROR_WRONG_VERSION);
    }
    uint32_t i = 0;
    while (requests[i].kind != frame->kind) {
        if (++i == sizeof requests / sizeof requests[0]) {
            return refused(MG_ERROR_UNKNOWN_KIND);
        }
    }
    if (frame->length < requests[i].length || (frame->length > requests[i].length && !requests[i].more)) {
        return refused(MG_ERROR_WRONG_LENGTH);
    }
    const uint8_t *in = frame->payload;
    switch (frame->kind) {
    case MG_KIND_INFO:
        return do_info(out);
    case MG_KIND_DESCRIBE:
        return do_describe(in, out);
    case MG_KIND_WRITE_INPUT:
        return do_write(in, frame->length);
    case MG_KIND_INFER:
        return do_infer(in, out);
    case MG_KIND_READ_OUTPUT:
        return do_read(in, out);
    case MG_KIND_STREAM:
        return do_stream(in);
    case MG_KIND_STATISTICS:
        return do_statistics(in, out);
    case MG_KIND_MEMORY:
        return do_memory(out);
    case MG_KIND_CAPTURE:
        return do_capture(out);
    case MG_KIND_READ_PICTURE:
        return do_read_picture(in, out);
    case MG_KIND_RESET_REASON:
        return do_reset_reason(out);
#if defined(APP_SOUND)
    case MG_KIND_HEAR:
        return do_hear(in, frame->length, out);
#endif
#if defined(MODEL_PROFILE)
    case MG_KIND_PROFILE:
        return do_profile(in, out);
#endif
#if defined(MODEL_VARIABLE_BYTES) || defined(APP_EXITS)
    case MG_KIND_FORGET:
#if defined(MODEL_VARIABLE_BYTES)
        model_reset();
#endif
#if defined(APP_EXITS)
        app_open_exits();
#endif
        return 0;
#endif
#if defined(APP_EXITS)
    case MG_KIND_EXIT:
        return do_exit(in, out);
#endif
#if defined(MODEL_LEARN_CLASSES)
    case MG_KIND_LEARNING:
        return do_learning(in, out);
    case MG_KIND_LEARN:
        return do_learn(in, out);
    case MG_KIND_SOLVE:
        return do_solve(out);
    case MG_KIND_UNLEARN:
        model_unlearn();
        return 0;
    case MG_KIND_READ_LEARNT:
        return do_read_learnt(in, out);
    case MG_KIND_WRITE_LEARNT:
        return do_write_learnt(in, frame->length);
#endif
#if defined(APP_UPDATE)
    case MG_KIND_UPDATE_SLOTS:
        return update_slots(out);
    case MG_KIND_UPDATE_BEGIN:
        return update_begin(in, out);
    case MG_KIND_UPDATE_WRITE:
        return update_write(mg_get32(in), in + 4, frame->length - 4u);
    case MG_KIND_UPDATE_COMMIT:
        return update_commit();
#endif
    default: /* MG_KIND_RESET is carried out once its reply is sent. */
        return 0;
    }
}

void app_start(void) {
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        clear(&input_statistics[i]);
    }
    for (uint32_t i = 0; i < APP_OUTPUTS; i++) {
        clear(&output_statistics[i]);
    }
    uart_put(0); /* Ends whatever the other side took for the beginning of a frame. */
}

void app_receive(uint8_t byte) {
    mg_frame frame;
    if (mg_decode(&decoder, byte, &frame) == 0 || (frame.kind & MG_REPLY) != 0) {
        return;
    }
    if (frame.kind == MG_KIND_INFO || !last.valid || last.sequence != frame.sequence || last.crc != frame.crc) {
        const answer result = execute(&frame, last.payload);
        last.valid = 1;
        last.crc = frame.crc;
        last.sequence = frame.sequence;
        if (result < 0) {
            last.kind = MG_KIND_ERROR | MG_REPLY;
            last.payload[0] = (uint8_t)-result;
            last.length = MG_ERROR_REPLY_BYTES;
        } else {
            last.kind = (uint8_t)(frame.kind | MG_REPLY);
            last.length = (uint32_t)result;
        }
    }
    mg_encode(last.kind, last.sequence, last.payload, last.length, uart_put);
    if (last.kind == (MG_KIND_RESET | MG_REPLY)) {
        port_reset();
    }
}

void app_idle(void) {
    if (stream_left == 0) {
        return;
    }
#if defined(APP_SOUND)
    if (!listen()) {
        return;
    }
#endif
    stream_left--;
#if defined(MODEL_FRAME_HEIGHT)
    look();
#endif
    app_sense(app_staged);
    uint64_t cycles;
    if (run(stream_tasks, &cycles) != 0) {
        stream_left = 0;
        return;
    }
    const uint32_t outputs = outputs_of(stream_tasks);
    for (uint32_t i = 0; i < APP_OUTPUTS; i++) {
        if ((outputs >> i & 1u) == 0) {
            continue;
        }
        uint8_t event[MG_MAX_PAYLOAD];
        uint8_t *p = mg_put32(mg_put64(mg_put32(event, stream_tasks), cycles), microseconds(cycles));
        const uint32_t room = MG_MAX_PAYLOAD - MG_STREAM_EVENT_BYTES;
        const uint32_t bytes = app_outputs[i].bytes < room ? app_outputs[i].bytes : room;
        *p++ = (uint8_t)i;
        *p++ = (uint8_t)bytes;
        memcpy(p, app_output(i), bytes);
        mg_encode(MG_KIND_STREAM_EVENT | MG_REPLY, stream_sequence, event, MG_STREAM_EVENT_BYTES + bytes, uart_put);
    }
    stream_sequence++;
}
