/* A guest without WebAssembly: a block of memory, and calls into wasi-nn by name.
 *
 * The memory is a block of exactly its size, so that AddressSanitizer sees any access past it. */
#ifndef LEDGE_TESTS_FAKE_GUEST_H
#define LEDGE_TESTS_FAKE_GUEST_H

#include "../unit/model_maker.h"
#include "wasm/wasi_nn/wasi_nn.h"

typedef struct Guest {
    LedgeNn *nn;
    uint8_t *memory;
    uint32_t size, top; /* of what guest_put has handed out */
} Guest;

/* Everything aborts the test on failure. */
void guest_new(Guest *g, uint32_t size, const LedgeNnOptions *options);
void guest_free(Guest *g);
/* Copies bytes into the guest's memory (data NULL: zeros); gives the address. */
uint32_t guest_put(Guest *g, const void *data, uint32_t size);
uint32_t guest_word(const Guest *g, uint32_t address);
void guest_poke(Guest *g, uint32_t address, uint32_t value);
/* Calls "load" or "ledge_nn.metadata" with its arguments, all uint32_t. */
#define guest_call(g, name, ...)                                                                   \
    guest_call_n((g), (name), (const uint32_t[]){__VA_ARGS__},                                     \
                 sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
NnErrno guest_call_n(Guest *g, const char *name, const uint32_t *args, size_t n);
/* The sentence of the last failure; valid until the next call of this function. */
const char *guest_error(Guest *g);

/* A model in the guest's memory and loaded; gives the graph's handle. */
uint32_t guest_load(Guest *g, TestModel *t);
uint32_t guest_context(Guest *g, uint32_t graph);
/* Writes a tensor record for these dimensions and data and gives its address. */
uint32_t guest_tensor(Guest *g, uint8_t type, uint32_t rank, const uint32_t *dims, const void *data,
                      uint32_t size);

/* y = Relu(x · w + b), x float32 [N,4], w [4,3]. */
TestModel *relu_model(void);
void relu_expected(const float *x, float *y); /* one row */

#endif
