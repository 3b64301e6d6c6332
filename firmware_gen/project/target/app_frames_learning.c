
#if defined(MODEL_PROFILE)
static answer do_profile(const uint8_t *in, uint8_t *out) {
    uint8_t *p = out;
    for (uint32_t step = in[0]; step < MODEL_STEP_COUNT && p + 4 <= out + MG_MAX_PAYLOAD; step++) {
        p = mg_put32(p, app_step_cycles[step]);
    }
    return written(out, p);
}
#endif

#if defined(MODEL_LEARN_CLASSES)
static answer do_learning(const uint8_t *in, uint8_t *out) {
    const uint32_t label = (uint32_t)in[0] | (uint32_t)in[1] << 8;
    if (label != MODEL_LEARN_KEEP && label >= MODEL_LEARN_CLASSES) {
        return refused(MG_ERROR_NO_SUCH_CLASS);
    }
    uint8_t *p = out;
    *p++ = MODEL_LEARN_TASK;
    *p++ = (uint8_t)model_learn_solved();
    *p++ = (uint8_t)MODEL_LEARN_CLASSES;
    *p++ = (uint8_t)(MODEL_LEARN_CLASSES >> 8);
    *p++ = (uint8_t)(MODEL_LEARN_FEATURES & 0xff);
    *p++ = (uint8_t)(MODEL_LEARN_FEATURES >> 8);
    p = mg_put32(p, MODEL_LEARN_MOST_FRAMES);
    p = mg_put32(mg_put32(p, model_learnt_frames(label)), model_learnt_frames(MODEL_LEARN_KEEP));
    p = mg_put32(mg_put32(p, MODEL_LEARN_SUMS_BYTES), MODEL_LEARN_LAYER_BYTES);
    return written(out, mg_put32(p, MODEL_LEARN_IDENTITY));
}

static answer do_learn(const uint8_t *in, uint8_t *out) {
    static const uint8_t codes[] = {MG_ERROR_NO_SUCH_CLASS, MG_ERROR_NO_FRAME, MG_ERROR_SUMS_FULL};
    const int status = model_learn((uint32_t)in[0] | (uint32_t)in[1] << 8);
    return status == 0 ? do_learning(in, out) : refused(codes[-1 - status]);
}

static answer do_solve(uint8_t *out) {
    const uint64_t before = clock_cycles();
    if (model_solve() != 0) {
        return refused(MG_ERROR_NOT_SOLVED);
    }
    const uint64_t cycles = clock_cycles() - before;
    return written(out, mg_put32(mg_put64(out, cycles), microseconds(cycles)));
}

static answer do_read_learnt(const uint8_t *in, uint8_t *out) {
    const uint32_t offset = mg_get32(in + 1), count = in[5];
    const int is_sums = in[0] == MG_LEARNT_SUMS;
    const uint32_t bytes = is_sums ? MODEL_LEARN_SUMS_BYTES : MODEL_LEARN_LAYER_BYTES;
    if (in[0] > MG_LEARNT_LAYER || count > MG_MAX_PAYLOAD || count > bytes || offset > bytes - count) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    memcpy(out, (is_sums ? model_learnt_sums() : model_learnt_layer()) + offset, count);
    return (answer)count;
}

static answer do_write_learnt(const uint8_t *in, uint32_t length) {
    const uint32_t offset = mg_get32(in), count = length - MG_WRITE_LEARNT_REQUEST_BYTES;
    if (count > MODEL_LEARN_SUMS_BYTES || offset > MODEL_LEARN_SUMS_BYTES - count) {
        return refused(MG_ERROR_OUT_OF_RANGE);
    }
    memcpy(model_learnt_sums() + offset, in + MG_WRITE_LEARNT_REQUEST_BYTES, count);
    return 0;
}
#endif
