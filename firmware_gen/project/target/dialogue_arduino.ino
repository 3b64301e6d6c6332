// The dialogue over Serial: `multigraft firmware verify` and `multigraft monitor` talk to this sketch.
@{headers}#include <dialogue/app.h>
#include <dialogue/port.h>

extern "C" {
void uart_init(void) {
  Serial.begin(115200);
}

int uart_get(void) {
  return Serial.read();
}

void uart_put(uint8_t byte) {
  Serial.write(byte);
}

void clock_init(void) {
}

uint64_t clock_us(void) {
  // The 32 bits turn over within an hour or so, and this is asked for more often than that.
  static uint32_t before;
  static uint64_t us;
  const uint32_t now = micros();
  us += now - before;
  before = now;
  return us;
}

void port_reset(void) {
  Serial.flush();
  NVIC_SystemReset();
  for (;;) {
  }
}
}

void setup() {
  app_setup();
}

void loop() {
  app_turn();
}
