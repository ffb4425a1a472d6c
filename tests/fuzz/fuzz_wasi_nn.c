/* Fuzz target of the wasi-nn ABI: a guest whose calls are the input's bytes.
 *
 * Each step is a call, or a word written into the guest's memory. Arguments are raw words, small
 * numbers, places where something fitting lies, or handles that earlier calls gave. The memory is
 * a block of its exact size. Whatever comes: an errno of the ABI, counts within the limits, a
 * sentence for each refusal, and no host memory left when the instance is freed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz_input.h"
#include "model_maker.h"
#include "wasm/wasi_nn/wasi_nn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MEMORY = 1 << 14,
    MODEL = 0x1000,
    BUILDER = 0x100,
    TENSOR = 0x140,
    DIMS = 0x160,
    DATA = 0x180,
    NAME = 0x1c0,
    CONFIG = 0x1e0,
    OUT = 0x200,
    BUFFER = 0x240,
    STEPS = 200,
    HANDLES = 8
};

static const uint32_t places[] = {BUILDER, TENSOR, DIMS,   DATA,  NAME,
                                  CONFIG,  OUT,    BUFFER, MODEL, MEMORY - 4};

/* ---- what all runs share ---- */

static uint64_t blocks; /* of host memory, in use */

static void *count_alloc(void *context, size_t size, size_t align)
{
    void *p = NULL;
    (void)context;
    if (size > (size_t)64 << 20 || posix_memalign(&p, align < sizeof p ? sizeof p : align, size))
        return NULL;
    __atomic_add_fetch(&blocks, 1, __ATOMIC_RELAXED);
    return p;
}

static void count_free(void *context, void *p)
{
    (void)context;
    if (p)
        __atomic_sub_fetch(&blocks, 1, __ATOMIC_RELAXED);
    free(p);
}

static const LedgeAllocator counting = {count_alloc, count_free, NULL};

/* Two inputs, one of them free in its first dimension; y depends on both, z is of bytes. */
static TestModel *small_model(void)
{
    TestModel *t = test_model_new(17);
    test_input(t, "x", LEDGE_FLOAT, 2, (int64_t[]){-1, 4});
    test_input(t, "n", LEDGE_INT64, 1, (int64_t[]){2});
    test_noise(t, "w", 2, (int64_t[]){4, 3}, 1);
    test_node(t, "MatMul", "x w", "m");
    test_node(t, "Tile", "m n", "y");
    test_node(t, "Shape", "y", "s");
    test_output(t, "y");
    test_output(t, "s");
    test_metadata(t, "key", "value");
    return t;
}

static const void *model_bytes(size_t *size)
{
    static TestModel *t;
    if (!t)
        t = small_model();
    return test_bytes(t, size);
}

static LedgeNnNames *shared_names(void)
{
    static LedgeNnNames *names;
    if (names)
        return names;
    char path[] = "/tmp/ledge-fuzz-nn-XXXXXX", text[64];
    size_t size;
    const void *bytes = model_bytes(&size);
    LedgeError err;
    FILE *f = fdopen(mkstemp(path), "wb");
    check(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
    snprintf(text, sizeof text, "m=%s", path);
    check(ledge__nn_names_new(NULL, &names) == LEDGE_OK);
    check(ledge__nn_names_add(names, text, &err) == LEDGE_OK);
    check(ledge__nn_names_load(names, 0, &err) == LEDGE_OK);
    remove(path);
    return names;
}

/* ---- one run ---- */

typedef struct Run {
    LedgeNn *nn;
    uint8_t *memory;
    uint32_t handles[HANDLES], n_handles;
} Run;

static void put(Run *r, uint32_t at, const void *data, size_t size)
{
    memcpy(r->memory + at, data, size);
}

static void start(Run *r)
{
    size_t size;
    const void *bytes = model_bytes(&size);
    const LedgeNnOptions o = {.names = shared_names(),
                              .limits = {.graphs = 3,
                                         .contexts = 3,
                                         .host_bytes = (uint64_t)16 << 20,
                                         .compute_ns = 200000000},
                              .threads = 1,
                              .cpu = "scalar",
                              .allocator = &counting};
    r->memory = calloc(MEMORY, 1);
    check(r->memory && size <= MEMORY - MODEL && ledge__nn_new(&o, &r->nn) == LEDGE_OK);
    put(r, MODEL, bytes, size);
    put(r, BUILDER, (uint32_t[]){MODEL, (uint32_t)size}, 8);
    put(r, TENSOR, (uint32_t[]){DIMS, 2, 1, DATA, 16}, 20);
    put(r, DIMS, (uint32_t[]){1, 4}, 8);
    put(r, DATA, (float[]){1, 2, 3, 4}, 16);
    put(r, NAME, "m", 1);
    put(r, CONFIG, "{\"target\":\"cpu\"}", 16);
}

static uint32_t argument(Run *r, Input *in)
{
    const uint8_t how = byte(in);
    if (how < 0x60)
        return how & 31;
    if (how < 0x90)
        return places[how % (sizeof places / sizeof *places)];
    if (how < 0xe0)
        return r->n_handles ? r->handles[how % (r->n_handles < HANDLES ? r->n_handles : HANDLES)]
                            : how;
    return (uint32_t)word(in, 4);
}

static void keep_handle(Run *r, const LedgeNnFunction *f, const uint32_t *args, NnErrno e)
{
    uint32_t h;
    const bool gives = strncmp(f->name, "load", 4) == 0 || strncmp(f->name, "init", 4) == 0;
    if (e || !gives)
        return;
    memcpy(&h, r->memory + args[f->params - 1], 4);
    r->handles[r->n_handles++ % HANDLES] = h;
}

static void call(Run *r, Input *in, size_t n_functions)
{
    const LedgeNnFunction *f = &ledge__nn_functions[byte(in) % n_functions];
    uint32_t args[8];
    for (uint32_t i = 0; i < f->params; i++)
        args[i] = argument(r, in);
    const NnErrno e = ledge__nn_call(r->nn, f, (LedgeNnMemory){r->memory, MEMORY}, args);
    check(e <= NN_NOT_FOUND);
    keep_handle(r, f, args, e);
    const LedgeNnCounts c = ledge__nn_counts(r->nn);
    check(c.graphs <= 3 && c.contexts <= 3 && c.host_bytes <= (uint64_t)16 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = {data, size};
    Run r = {0};
    size_t n_functions = 0;
    while (ledge__nn_functions[n_functions].name)
        n_functions++;
    (void)shared_names();
    const uint64_t before = blocks;
    start(&r);
    for (int i = 0; i < STEPS && in.left; i++) {
        const uint8_t kind = byte(&in);
        if (kind < 0x40) {
            const uint32_t at =
                (places[kind % (sizeof places / sizeof *places)] + byte(&in)) % (MEMORY - 4);
            put(&r, at, &(uint32_t){(uint32_t)word(&in, 4)}, 4);
        } else {
            call(&r, &in, n_functions);
        }
    }
    ledge__nn_free(r.nn);
    check(blocks == before);
    free(r.memory);
    return 0;
}
