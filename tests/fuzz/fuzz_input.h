/* Shared by the targets: what must hold, and an input that is read byte by byte. */
#ifndef LEDGE_TESTS_FUZZ_INPUT_H
#define LEDGE_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void check(bool ok)
{
    if (!ok)
        abort();
}

/* Behind its end there are zeros. */
typedef struct Input {
    const uint8_t *p;
    size_t left;
} Input;

static inline uint8_t byte(Input *in)
{
    if (!in->left)
        return 0;
    in->left--;
    return *in->p++;
}

/* Of so many bytes, the lowest first. */
static inline uint64_t word(Input *in, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)byte(in) << 8 * i;
    return v;
}

#endif
