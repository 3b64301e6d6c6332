"""What the dialogue examples call of their frameworks, played on this machine: bytes go over stdin and stdout.

Declarations are those of the frameworks' documentation: Pico SDK 2.1, Zephyr 4.1, ESP-IDF 5.4, STM32 HAL, Arduino.
"""

from __future__ import annotations

_HOST = """#pragma once
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static inline int host_get(void) {
    struct pollfd in = {0, POLLIN, 0};
    unsigned char byte;
    if (poll(&in, 1, 1) == 0)
        return -1;
    if (read(0, &byte, 1) != 1)
        exit(0);
    return byte;
}
static inline void host_put(uint8_t byte) {
    if (write(1, &byte, 1) != 1)
        exit(1);
}
static inline uint64_t host_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}
"""

_PICO_STDLIB = """#include <stdbool.h>
#include "host.h"
typedef struct stdio_driver { int unused; } stdio_driver_t;
static inline bool stdio_init_all(void) { return true; }
static inline void stdio_flush(void) {}
static inline void stdio_set_translate_crlf(stdio_driver_t *driver, bool translate) { (void)driver, (void)translate; }
static inline int getchar_timeout_us(uint32_t timeout_us) { (void)timeout_us; return host_get(); }
static inline int putchar_raw(int c) { host_put((uint8_t)c); return c; }
static inline uint64_t time_us_64(void) { return host_us(); }
"""
_PICO_USB = """#pragma once
#include "pico/stdlib.h"
static stdio_driver_t stdio_usb;
"""
_PICO_WATCHDOG = """#pragma once
#include <stdbool.h>
#include "host.h"
static inline bool watchdog_caused_reboot(void) { return false; }
static inline void watchdog_reboot(uint32_t pc, uint32_t sp, uint32_t delay_ms) {
    (void)pc, (void)sp, (void)delay_ms;
    exit(0);
}
"""

_ZEPHYR_DEVICE = """#pragma once
struct device { int unused; };
static const struct device played;
#define DT_CHOSEN(name) name
#define DEVICE_DT_GET(node) (&played)
"""
_ZEPHYR_UART = """#pragma once
#include "host.h"
static inline int uart_poll_in(const struct device *dev, unsigned char *p_char) {
    const int byte = host_get();
    (void)dev;
    if (byte >= 0)
        *p_char = (unsigned char)byte;
    return byte >= 0 ? 0 : -1;
}
static inline void uart_poll_out(const struct device *dev, unsigned char out_char) { (void)dev; host_put(out_char); }
"""
_ZEPHYR_KERNEL = """#pragma once
#include "host.h"
static inline uint32_t k_cycle_get_32(void) { return (uint32_t)(host_us() * 64u); }
static inline uint64_t k_cyc_to_us_floor64(uint64_t t) { return t / 64u; }
"""
_ZEPHYR_REBOOT = """#pragma once
#include "host.h"
#define SYS_REBOOT_COLD 1
static inline void sys_reboot(int type) { (void)type; exit(0); }
"""

_ESP_USB = """#pragma once
#include "host.h"
typedef int esp_err_t;
typedef uint32_t TickType_t;
typedef struct { uint32_t tx_buffer_size, rx_buffer_size; } usb_serial_jtag_driver_config_t;
#define USB_SERIAL_JTAG_DRIVER_CONFIG_DEFAULT() (usb_serial_jtag_driver_config_t){256, 256}
#define ESP_ERROR_CHECK(x) do { if ((x) != 0) abort(); } while (0)
static inline esp_err_t usb_serial_jtag_driver_install(usb_serial_jtag_driver_config_t *config) {
    (void)config;
    return 0;
}
static inline int usb_serial_jtag_read_bytes(void *buf, uint32_t length, TickType_t ticks_to_wait) {
    const int byte = host_get();
    (void)length, (void)ticks_to_wait;
    if (byte < 0)
        return 0;
    *(uint8_t *)buf = (uint8_t)byte;
    return 1;
}
static inline int usb_serial_jtag_write_bytes(const void *src, size_t size, TickType_t ticks_to_wait) {
    (void)size, (void)ticks_to_wait;
    host_put(*(const uint8_t *)src);
    return 1;
}
"""
_ESP_SYSTEM = """#pragma once
#include "host.h"
typedef enum {
    ESP_RST_UNKNOWN, ESP_RST_POWERON, ESP_RST_EXT, ESP_RST_SW, ESP_RST_PANIC, ESP_RST_INT_WDT, ESP_RST_TASK_WDT,
    ESP_RST_WDT
} esp_reset_reason_t;
static inline esp_reset_reason_t esp_reset_reason(void) { return ESP_RST_POWERON; }
static inline __attribute__((noreturn)) void esp_restart(void) { exit(0); }
"""
_ESP_TIMER = """#pragma once
#include "host.h"
static inline int64_t esp_timer_get_time(void) { return (int64_t)host_us(); }
"""

_STM32_MAIN = """#pragma once
#include "host.h"
typedef struct { int unused; } UART_HandleTypeDef;
typedef enum { HAL_OK, HAL_ERROR, HAL_BUSY, HAL_TIMEOUT } HAL_StatusTypeDef;
#define HAL_MAX_DELAY 0xffffffffu
#define UART_FLAG_ORE 8u
#define __HAL_UART_GET_FLAG(handle, flag) ((void)(handle), (flag) == 0u)
#define __HAL_UART_CLEAR_OREFLAG(handle) ((void)(handle))
static inline HAL_StatusTypeDef HAL_UART_Receive(UART_HandleTypeDef *h, uint8_t *data, uint16_t size,
                                                 uint32_t timeout) {
    const int byte = host_get();
    (void)h, (void)size, (void)timeout;
    *data = (uint8_t)byte;
    return byte >= 0 ? HAL_OK : HAL_TIMEOUT;
}
static inline HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef *h, const uint8_t *data, uint16_t size,
                                                  uint32_t timeout) {
    (void)h, (void)size, (void)timeout;
    host_put(*data);
    return HAL_OK;
}
static inline __attribute__((noreturn)) void NVIC_SystemReset(void) { exit(0); }
static struct { uint32_t DEMCR; } core_debug;
static struct { uint32_t CTRL, CYCCNT; } dwt;
#define CoreDebug (&core_debug)
#define CoreDebug_DEMCR_TRCENA_Msk (1u << 24)
#define DWT (dwt.CYCCNT = (uint32_t)(host_us() * 480u), &dwt)
#define DWT_CTRL_CYCCNTENA_Msk 1u
"""
_STM32_USER = """#include "main.h"
#include "app.h"
UART_HandleTypeDef huart3;
int main(void) {
    app_setup();
    for (;;)
        app_turn();
}
"""

_ARDUINO = """#pragma once
#include "host.h"
struct HostSerial {
    void begin(unsigned long) {}
    int read() { return host_get(); }
    size_t write(uint8_t byte) { host_put(byte); return 1; }
    void flush() {}
};
static HostSerial Serial;
static inline unsigned long micros() { return (unsigned long)(uint32_t)host_us(); }
static inline void NVIC_SystemReset() { exit(0); }
"""
_ARDUINO_MAIN = """void setup();
void loop();
int main() {
    setup();
    for (;;)
        loop();
}
"""
_ESP_MAIN = """void app_main(void);
int main(void) {
    app_main();
    return 0;
}
"""

HEADERS: dict[str, dict[str, str]] = {
    "pico-sdk": {
        "pico/stdlib.h": "#pragma once\n" + _PICO_STDLIB, "pico/stdio_usb.h": _PICO_USB,
        "hardware/watchdog.h": _PICO_WATCHDOG,
    },
    "zephyr": {
        "zephyr/device.h": _ZEPHYR_DEVICE, "zephyr/drivers/uart.h": _ZEPHYR_UART, "zephyr/kernel.h": _ZEPHYR_KERNEL,
        "zephyr/sys/reboot.h": _ZEPHYR_REBOOT,
    },
    "esp-idf": {
        "driver/usb_serial_jtag.h": _ESP_USB, "esp_system.h": _ESP_SYSTEM, "esp_timer.h": _ESP_TIMER,
        "freertos/FreeRTOS.h": "#pragma once\n#define portMAX_DELAY 0xffffffffu\n",
    },
    "stm32cube": {"main.h": _STM32_MAIN},
    "arduino": {"Arduino.h": _ARDUINO},
}  # fmt: skip
"""Framework to its headers by path; each also finds ``host.h``."""
for headers in HEADERS.values():
    headers["host.h"] = _HOST

MAINS = {"stm32cube": _STM32_USER, "esp-idf": _ESP_MAIN, "arduino": _ARDUINO_MAIN}
"""What calls the example where that is none of a program's own."""
