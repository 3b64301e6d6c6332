/* Where boards without a framework begin. */
#include "app.h"

int main(void) {
    app_setup();
    for (;;) {
        app_turn();
    }
}
