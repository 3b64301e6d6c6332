/* The dialogue over the chip's own USB port (USB Serial/JTAG). */
#include "driver/usb_serial_jtag.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"

#include "app.h"
#include "port.h"
#include "protocol.h"

void uart_init(void) {
    usb_serial_jtag_driver_config_t config = USB_SERIAL_JTAG_DRIVER_CONFIG_DEFAULT();
    ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&config));
}

int uart_get(void) {
    uint8_t byte;
    /* Where nothing comes, other tasks have a turn. */
    return usb_serial_jtag_read_bytes(&byte, 1, 1) == 1 ? byte : -1;
}

void uart_put(uint8_t byte) {
    usb_serial_jtag_write_bytes(&byte, 1, portMAX_DELAY);
}

void clock_init(void) {
}

uint64_t clock_us(void) {
    return (uint64_t)esp_timer_get_time();
}

uint32_t port_reset_reason(void) {
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
        return MG_RESET_POWER_ON;
    case ESP_RST_EXT:
        return MG_RESET_PIN;
    case ESP_RST_SW:
        return MG_RESET_SOFTWARE;
    case ESP_RST_PANIC:
        return MG_RESET_FAULT;
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return MG_RESET_WATCHDOG;
    default:
        return MG_RESET_UNKNOWN;
    }
}

void port_reset(void) {
    esp_restart();
}

void app_main(void) {
    app_setup();
    for (;;) {
        app_turn();
    }
}
