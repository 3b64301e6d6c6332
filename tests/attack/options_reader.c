/* Gives blocks of bytes to the delegate's reader of options, each in memory of just its size, so that a sanitiser sees a read
 * behind it: in a model they lie between other bytes.
 *
 *     options_reader KEY...   reads blocks from standard input, each behind its length in 4 bytes (little end first), and
 *                             prints a line for each: the number of every key, or - */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexbuffer.h"

int main(int count, char **keys) {
    uint8_t length[4];
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed tells on which block it ended */
    while (fread(length, 1, 4, stdin) == 4) {
        const size_t size = length[0] | length[1] << 8 | length[2] << 16 | (size_t)length[3] << 24;
        uint8_t *block = malloc(size ? size : 1);
        if (block == NULL || fread(block, 1, size, stdin) != size) return 2;
        for (int i = 1; i < count; i++) {
            int32_t value;
            if (flexbuffer_number(size ? block : NULL, size, keys[i], &value)) printf("%d ", (int)value);
            else printf("- ");
        }
        printf("\n");
        free(block);
    }
    return 0;
}
