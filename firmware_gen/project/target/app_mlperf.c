/* The serial dialogue of the MLPerf Tiny benchmark (mlperf-tiny-uart/v1): commands end in %, replies in CRLF, and every
   command is concluded by m-ready. The first input and the first output are what the benchmark means.

   What the runner sends and wants to hear depends on the benchmark's network: signed bytes and all outputs (kws01),
   unsigned pixels (ic01, vww01), or float32 features and their mean squared distance from the output (ad01). */
#include <string.h>

#include "app.h"
#if defined(APP_EXITS)
#error "this benchmark is of whole networks: generate the project with --no-exits"
#endif
#include "port.h"
#include "protocol.h"

#if defined(MODEL_READS_STAGED) && MODEL_TASK_COUNT > 1
#error "the benchmark measures one model: generate a project of it alone"
#endif
#if !defined(APP_MLPERF_NAME)
#define APP_MLPERF_NAME APP_MODEL_NAME
#endif
#if defined(APP_MLPERF_ic01) || defined(APP_MLPERF_vww01)
/* 128 less is the same as the other sign bit. */
#define SIGN_BIT 128u
#else
#define SIGN_BIT 0u
#endif
#if defined(APP_MLPERF_ad01)
#if APP_INPUT_DTYPE != MG_DTYPE_INT8 || APP_INPUTS != 1 || APP_OUTPUT_ELEMENTS != APP_INPUT_BYTES
#error "ad01 compares an output with one int8 input of the same size, which this model does not have"
#endif
static float features[APP_INPUT_BYTES];
#define RECEIVED ((uint8_t *)features)
#define RECEIVED_ROOM (4u * APP_INPUT_BYTES)
#else
#define RECEIVED app_staged
#define RECEIVED_ROOM APP_INPUT_BYTES
#endif

#define COMMAND_ROOM 80u

static char command[COMMAND_ROOM + 1];
static uint32_t command_length;
static uint32_t expected, loaded;
static char *rest;

static void say(const char *text) {
    while (*text != '\0') {
        uart_put((uint8_t)*text++);
    }
}

/* As received, but for bytes that are no ASCII: the runner stops at them. */
static void say_received(const char *text) {
    for (; *text != '\0'; text++) {
        uart_put((uint8_t)(*text >= ' ' && *text <= '~' ? *text : '?'));
    }
}

static void say_number(uint64_t value) {
    char digits[21];
    uint32_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
        digits[--i] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    say(digits + i);
}

static void say_hex(uint8_t value) {
    static const char digits[] = "0123456789abcdef";
    uart_put((uint8_t)digits[value >> 4]);
    uart_put((uint8_t)digits[value & 15u]);
}

/* As printf's %0.3f: the exact value is rounded to nearest, ties to even. */
static void say_real(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int32_t exponent = (int32_t)((bits >> 23) & 255u) - 150;
    const uint64_t thousand = (uint64_t)((bits & 0x7fffffu) | ((bits >> 23 & 255u) != 0 ? 0x800000u : 0u)) * 1000u;
    uint64_t thousandths;
    if (exponent >= 0) {
        thousandths = exponent < 30 ? thousand << exponent : UINT64_MAX;
    } else if (exponent > -40) {
        const uint32_t shift = (uint32_t)-exponent;
        const uint64_t half = 1ull << (shift - 1u), below = thousand & ((1ull << shift) - 1u);
        thousandths = thousand >> shift;
        if (below > half || (below == half && (thousandths & 1u) != 0)) {
            thousandths++;
        }
    } else {
        thousandths = 0;
    }
    if ((bits >> 31) != 0) {
        uart_put('-');
    }
    say_number(thousandths / 1000u);
    uart_put('.');
    const uint32_t fraction = (uint32_t)(thousandths % 1000u);
    uart_put((uint8_t)('0' + fraction / 100u));
    uart_put((uint8_t)('0' + fraction / 10u % 10u));
    uart_put((uint8_t)('0' + fraction % 10u));
}

static float element(const app_tensor *tensor, const void *data, uint32_t index) {
    int32_t stored;
    switch (tensor->dtype) {
    case MG_DTYPE_INT8:
        stored = ((const int8_t *)data)[index];
        break;
    case MG_DTYPE_UINT8:
    case MG_DTYPE_BOOL:
        stored = ((const uint8_t *)data)[index];
        break;
    case MG_DTYPE_INT16:
        stored = ((const int16_t *)data)[index];
        break;
    case MG_DTYPE_INT32:
        stored = ((const int32_t *)data)[index];
        break;
    default:
        return ((const float *)data)[index];
    }
    return tensor->scale > 0.0f ? tensor->scale * (float)(stored - tensor->zero_point) : (float)stored;
}

/* The next word of the command, or NULL. */
static char *next(void) {
    while (*rest == ' ') {
        rest++;
    }
    if (*rest == '\0') {
        return NULL;
    }
    char *word = rest;
    while (*rest != ' ' && *rest != '\0') {
        rest++;
    }
    if (*rest == ' ') {
        *rest++ = '\0';
    }
    return word;
}

static int same(const char *a, const char *b) {
    return strlen(a) == strlen(b) && memcmp(a, b, strlen(a)) == 0;
}

/* As atoi, but what is no number or too large is -1. */
static int32_t number(const char *text) {
    int32_t value = 0;
    if (*text == '\0') {
        return -1;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > 99999999) {
            return -1;
        }
        value = value * 10 + (*text - '0');
    }
    return value;
}

static int32_t hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void timestamp(void) {
    say("m-lap-us-");
    say_number(clock_us());
    say("\r\n");
}

#if defined(APP_MLPERF_ad01)
/* To the nearest step, halves away from zero. */
static void quantise(void) {
    for (uint32_t i = 0; i < APP_INPUT_BYTES; i++) {
        const float steps = features[i] / app_inputs[0].scale;
        int32_t value = steps < -1000.0f ? -1000 : steps < 1000.0f ? (int32_t)steps : 1000;
        const float rest = steps - (float)value;
        value += (rest >= 0.5f) - (rest <= -0.5f) + app_inputs[0].zero_point;
        app_staged[i] = (uint8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
    }
}

static void results(void) {
    float sum = 0.0f;
    for (uint32_t i = 0; i < APP_INPUT_BYTES; i++) {
        const float distance = element(&app_outputs[0], app_output(0), i) - features[i];
        sum += distance * distance;
    }
    say("m-results-[");
    say_real(sum / (float)APP_INPUT_BYTES);
    say("]\r\n");
}
#else
static void results(void) {
    const app_tensor *tensor = &app_outputs[0];
    static const uint8_t sizes[] = {1, 1, 2, 4, 4, 1};
    const uint32_t count = tensor->bytes / sizes[tensor->dtype];
    say("m-results-[");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            uart_put(',');
        }
        say_real(element(tensor, app_output(0), i));
    }
    say("]\r\n");
}
#endif

static int infer_times(int32_t times) {
    uint64_t cycles;
    for (; times > 0; times--) {
        if (app_infer(APP_ALL_TASKS, &cycles) != 0) {
            say("e-[The model failed]\r\n");
            return -1;
        }
    }
    return 0;
}

static void infer(void) {
    const char *word = next();
    const int32_t times = word != NULL ? number(word) : 1;
    word = times > 0 ? next() : NULL;
    const int32_t warmups = word != NULL ? number(word) : 10;
    if (times <= 0) {
        say("e-[Inference iterations must be >0]\r\n");
        return;
    }
    if (warmups < 0) {
        say("e-[Inference warmup must be >=0]\r\n");
        return;
    }
    if (loaded != RECEIVED_ROOM) {
        say("e-[Input db has ");
        say_number(loaded);
        say(" bytes, expected ");
        say_number(RECEIVED_ROOM);
        say("]\r\n");
    }
#if defined(APP_MLPERF_ad01)
    quantise();
#endif
    say("m-warmup-start-");
    say_number((uint64_t)warmups);
    say("\r\n");
    if (infer_times(warmups) != 0) {
        return;
    }
    say("m-warmup-done\r\nm-infer-start-");
    say_number((uint64_t)times);
    say("\r\n");
    timestamp();
    if (infer_times(times) != 0) {
        return;
    }
    timestamp();
    say("m-infer-done\r\n");
    results();
}

static void load(void) {
    const char *word = next();
    const int32_t count = word != NULL ? number(word) : 0;
    if (word == NULL) {
        say("e-[Command 'db load' requires the # of bytes]\r\n");
    } else if (count <= 0) {
        say("e-[Command 'db load' must be >0 bytes]\r\n");
    } else if ((uint32_t)count > RECEIVED_ROOM) {
        say("e-[Supplied buffer size ");
        say_number((uint64_t)count);
        say(" exceeds maximum of ");
        say_number(RECEIVED_ROOM);
        say("]\r\n");
    } else {
        expected = (uint32_t)count;
        loaded = 0;
        say("m-[Expecting ");
        say_number(expected);
        say(" bytes]\r\n");
    }
}

static void print(void) {
    for (uint32_t i = 0; i < loaded; i++) {
        if (i % 8u == 0) {
            say("m-buffer-");
        }
        say_hex((uint8_t)(RECEIVED[i] ^ SIGN_BIT));
        say(i % 8u == 7u || i + 1u == loaded ? "\r\n" : "-");
    }
}

static void digits(const char *word) {
    const uint32_t length = (uint32_t)strlen(word);
    if (length % 2u != 0) {
        say("e-[Insufficent number of hex digits]\r\n");
        return;
    }
    for (uint32_t i = 0; i < length; i += 2u) {
        const int32_t high = hex_digit(word[i]), low = hex_digit(word[i + 1u]);
        if (high < 0 || low < 0) {
            const char pair[3] = {word[i], word[i + 1u], '\0'};
            say("e-[Invalid hex digit '");
            say_received(pair);
            say("']\r\n");
            return;
        }
        if (loaded < expected) {
            RECEIVED[loaded++] = (uint8_t)((uint32_t)(high * 16 + low) ^ SIGN_BIT);
            if (loaded == expected) {
                say("m-load-done\r\n");
                return;
            }
        }
    }
}

static void buffer(void) {
    const char *word = next();
    if (word == NULL) {
        say("e-[Command 'db' requires a subcommand]\r\n");
    } else if (same(word, "load")) {
        load();
    } else if (same(word, "print")) {
        print();
    } else {
        digits(word);
    }
}

static void execute(void) {
    rest = command;
    const char *word = next();
    if (word == NULL) {
        say("e-[Unknown command: ]\r\n");
    } else if (same(word, "name")) {
        say("m-name-dut-[" BOARD_NAME "]\r\n");
    } else if (same(word, "timestamp")) {
        timestamp();
    } else if (same(word, "profile")) {
        say("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[" APP_MLPERF_NAME "]\r\n");
    } else if (same(word, "help")) {
        say("name, timestamp, profile, db load N, db HH.., db print, infer N W, results; each ends in a percent sign\r\n");
    } else if (same(word, "db")) {
        buffer();
    } else if (same(word, "infer")) {
        infer();
    } else if (same(word, "results")) {
        results();
    } else {
        say("e-[Unknown command: ");
        say_received(word);
        say("]\r\n");
    }
    say("m-ready\r\n");
}

void app_start(void) {
    say("m-timestamp-mode-performance\r\n");
    timestamp();
    say("m-init-done\r\nm-ready\r\n");
}

void app_receive(uint8_t byte) {
    if (byte == '%') {
        /* The beginning of a command that is too long is not what was meant. */
        if (command_length > COMMAND_ROOM) {
            say("e-[Command is too long]\r\nm-ready\r\n");
            command_length = 0;
            return;
        }
        command[command_length] = '\0';
        command_length = 0;
        execute();
    } else if (byte != '\r' && byte != '\n' && byte != '\0' && command_length <= COMMAND_ROOM) {
        command[command_length++] = (char)byte;
    }
}

void app_idle(void) {
}
