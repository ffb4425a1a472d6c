/* See fake_guest.h. */
#include "fake_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fake_guest: %s\n", what);
        abort();
    }
}

void guest_new(Guest *g, uint32_t size, const LedgeNnOptions *options)
{
    *g = (Guest){.size = size, .top = 16, .memory = calloc(size, 1)};
    must(g->memory && ledge__nn_new(options, &g->nn) == LEDGE_OK, "no memory");
}

void guest_free(Guest *g)
{
    ledge__nn_free(g->nn);
    free(g->memory);
}

uint32_t guest_put(Guest *g, const void *data, uint32_t size)
{
    const uint32_t at = (g->top + 7) & ~7u;
    must(at <= g->size && size <= g->size - at, "the fake guest's memory is too small");
    if (data)
        memcpy(g->memory + at, data, size);
    g->top = at + size;
    return at;
}

uint32_t guest_word(const Guest *g, uint32_t address)
{
    uint32_t v;
    memcpy(&v, g->memory + address, 4);
    return v;
}

void guest_poke(Guest *g, uint32_t address, uint32_t value)
{
    memcpy(g->memory + address, &value, 4);
}

NnErrno guest_call_n(Guest *g, const char *name, const uint32_t *args, size_t n)
{
    const char *dot = strchr(name, '.'), *plain = dot ? dot + 1 : name;
    for (const LedgeNnFunction *f = ledge__nn_functions; f->name; f++) {
        const char *module = dot ? "ledge_nn" : "wasi_ephemeral_nn";
        if (strcmp(f->module, module) != 0 || strcmp(f->name, plain) != 0)
            continue;
        must(f->params == n, "the call has another number of arguments");
        return ledge__nn_call(g->nn, f, (LedgeNnMemory){g->memory, g->size}, args);
    }
    must(false, "there is no such function");
    return NN_SUCCESS;
}

const char *guest_error(Guest *g)
{
    static char text[2048];
    uint8_t room[2048 + 4];
    for (const LedgeNnFunction *f = ledge__nn_functions; f->name; f++)
        if (strcmp(f->name, "last_error") == 0) {
            uint32_t n;
            const uint32_t args[] = {0, 2047, 2048};
            must(ledge__nn_call(g->nn, f, (LedgeNnMemory){room, sizeof room}, args) == NN_SUCCESS,
                 "last_error failed");
            memcpy(&n, room + 2048, 4);
            memcpy(text, room, n);
            text[n] = '\0';
        }
    return text;
}

uint32_t guest_load(Guest *g, TestModel *t)
{
    size_t size;
    const void *bytes = test_bytes(t, &size);
    const uint32_t model = guest_put(g, bytes, (uint32_t)size);
    const uint32_t builder = guest_put(g, (uint32_t[]){model, (uint32_t)size}, 8);
    const uint32_t out = guest_put(g, NULL, 4);
    const NnErrno e = guest_call(g, "load", builder, 1, 1, 0, out);
    must(e == NN_SUCCESS, guest_error(g));
    return guest_word(g, out);
}

uint32_t guest_context(Guest *g, uint32_t graph)
{
    const uint32_t out = guest_put(g, NULL, 4);
    const NnErrno e = guest_call(g, "init_execution_context", graph, out);
    must(e == NN_SUCCESS, guest_error(g));
    return guest_word(g, out);
}

uint32_t guest_tensor(Guest *g, uint8_t type, uint32_t rank, const uint32_t *dims, const void *data,
                      uint32_t size)
{
    const uint32_t d = guest_put(g, dims, 4 * rank), p = guest_put(g, data, size);
    return guest_put(g, (uint32_t[]){d, rank, type, p, size}, 20);
}

TestModel *relu_model(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_noise(t, "w", 2, (int64_t[]){4, 3}, 1);
    test_noise(t, "b", 1, (int64_t[]){3}, 2);
    test_node(t, "MatMul", "x w", "m");
    test_node(t, "Add", "m b", "a");
    test_node(t, "Relu", "a", "y");
    test_output(t, "y");
    test_metadata(t, "ledge.labels", "one\ntwo\nthree");
    return t;
}

void relu_expected(const float *x, float *y)
{
    float w[12], b[3];
    test_fill(w, 12, 1);
    test_fill(b, 3, 2);
    for (int j = 0; j < 3; j++) {
        float sum = b[j];
        for (int k = 0; k < 4; k++)
            sum += x[k] * w[k * 3 + j];
        y[j] = sum > 0 ? sum : 0;
    }
}
