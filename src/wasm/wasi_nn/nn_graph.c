/* Loading and unloading models for a guest. */
#include "wasm/wasi_nn/nn_state.h"

#include <jansson.h>
#include <stdio.h>

#include "ledge/provider.h"

enum { ENCODING_ONNX = 1, ENCODING_AUTO = 5 };
#define CONFIG_MAX_BYTES ((uint32_t)64 << 10)

/* The providers for a target, as a session takes them (NULL: ledge's own kernels). The CPU is
 * always there. Others are found by asking, which costs a child process each, once. Status:
 * PROVIDER, saying that none is here, and why. */
static LedgeStatus providers_for(NnTarget target, LedgeError *err, const char **out)
{
    static const char *const gpu[] = {"tensorrt", "cuda", "migraphx", "dml", "coreml", NULL};
    static const char *const tpu[] = {"qnn", NULL};
    const char *const *names = target == NN_GPU ? gpu : tpu;
    if (target == NN_CPU) {
        *out = NULL;
        return LEDGE_OK;
    }
    for (size_t i = 0; names[i]; i++) {
        LedgeProviderInfo info;
        bool known = false;
        for (size_t k = 0; k < ledge_provider_count(); k++)
            known |= strcmp(ledge_provider_name(k), names[i]) == 0;
        if (known && !ledge_provider_probe(names[i], err, &info) && info.status == LEDGE_OK) {
            *out = names[i];
            return LEDGE_OK;
        }
    }
    return ledge__fail(
        err, LEDGE_ERROR_PROVIDER, NULL,
        "no provider for a %s is here ('ledge doctor' says why); load it for the cpu",
        target == NN_GPU ? "gpu" : "tpu");
}

/* ---- graphs ---- */

void ledge__nn_graph_release(LedgeNn *nn, NnGraph *g)
{
    if (!g || --g->references)
        return;
    if (!g->named)
        ledge_model_free(g->model);
    ledge__free(&nn->budget.allocator, g->bytes);
    ledge__free(&nn->budget.allocator, g);
    nn->live_graphs--;
}

static NnErrno new_graph(LedgeNn *nn, NnGraph **out)
{
    if (ledge__nn_table_full(&nn->graphs) || nn->live_graphs >= nn->graphs.limit)
        return ledge__nn_fail(nn, NN_TOO_LARGE,
                              "the guest holds %u models, its limit; unload takes one back",
                              nn->live_graphs);
    NnGraph *g = ledge__calloc(&nn->budget.allocator, 1, sizeof *g);
    if (!g)
        return ledge__nn_fail_status(nn, LEDGE_ERROR_MEMORY, &(LedgeError){0});
    g->references = 1;
    g->threads = nn->o.threads;
    nn->live_graphs++;
    *out = g;
    return NN_SUCCESS;
}

static NnErrno read_model(LedgeNn *nn, NnGraph *g, const uint8_t *bytes, uint32_t size)
{
    LedgeError err = {0};
    const LedgeModelOptions o = {.allocator = &nn->budget.allocator,
                                 .cpu = nn->o.cpu,
                                 .for_providers = g->providers != NULL};
    const uint64_t begin = ledge__nn_now();
    g->bytes = ledge__alloc(&nn->budget.allocator, size, 1);
    if (!g->bytes)
        return ledge__nn_fail_status(nn, LEDGE_ERROR_MEMORY, &err);
    memcpy(g->bytes, bytes, size);
    const LedgeStatus status = ledge_model_load_memory(g->bytes, size, &o, &err, &g->model);
    nn->compute_ns += ledge__nn_now() - begin;
    return status ? ledge__nn_fail_status(nn, status, &err) : NN_SUCCESS;
}

static NnErrno use_target(LedgeNn *nn, NnGraph *g, NnTarget target)
{
    LedgeError err = {0};
    const LedgeStatus status = providers_for(target, &err, &g->providers);
    return status ? ledge__nn_fail_status(nn, status, &err) : NN_SUCCESS;
}

static NnErrno check_load(LedgeNn *nn, uint32_t n, uint32_t encoding, uint32_t target)
{
    if (encoding != ENCODING_ONNX && encoding != ENCODING_AUTO)
        return ledge__nn_fail(nn, NN_INVALID_ENCODING,
                              "encoding %u is not onnx (1) or autodetect (5)", encoding);
    if (target > NN_TPU)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                              "target %u is none of cpu (0), gpu (1), tpu (2)", target);
    if (n != 1)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                              "an ONNX model comes in one builder, %u were given", n);
    return ledge__nn_check_time(nn);
}

/* load(builders, number of them, encoding, target, graph) */
NnErrno ledge__wasi_ephemeral_nn__load(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    NnErrno e = check_load(nn, args[1], args[2], args[3]);
    NnGraph *g = NULL;
    if (e)
        return e;
    const uint8_t *builder = ledge__nn_at(memory, args[0], 1, 8);
    uint8_t *out = ledge__nn_at(memory, args[4], 1, 4);
    if (!builder)
        return ledge__nn_fail_at(nn, memory, "the builders", args[0], 8);
    if (!out)
        return ledge__nn_fail_at(nn, memory, "the graph's place", args[4], 4);
    const uint32_t address = ledge__nn_get32(builder), size = ledge__nn_get32(builder + 4);
    const uint8_t *bytes = ledge__nn_at(memory, address, size, 1);
    if (!bytes)
        return ledge__nn_fail_at(nn, memory, "the model", address, size);
    e = new_graph(nn, &g);
    if (e)
        return e;
    e = use_target(nn, g, (NnTarget)args[3]);
    if (!e)
        e = read_model(nn, g, bytes, size);
    if (e) {
        ledge__nn_graph_release(nn, g);
        return e;
    }
    ledge__nn_put32(out, ledge__nn_table_put(&nn->graphs, g));
    return NN_SUCCESS;
}

/* ---- by name ---- */

typedef struct Config {
    int target; /* -1: the name's own */
    int threads;
} Config;

static NnErrno read_target(LedgeNn *nn, const char *word, int *out)
{
    static const char *const names[] = {"cpu", "gpu", "tpu"};
    for (int i = 0; word && i < 3; i++)
        if (strcmp(word, names[i]) == 0) {
            *out = i;
            return NN_SUCCESS;
        }
    return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "the config's target is not cpu, gpu or tpu");
}

static NnErrno read_entries(LedgeNn *nn, json_t *o, Config *c)
{
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        if (strcmp(key, "target") == 0) {
            const NnErrno e = read_target(nn, json_string_value(value), &c->target);
            if (e)
                return e;
        } else if (strcmp(key, "threads") == 0) {
            if (!json_is_integer(value) || json_integer_value(value) < 1 ||
                json_integer_value(value) > 1024)
                return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                                      "the config's threads are not 1 to 1024");
            c->threads = (int)json_integer_value(value);
        } else {
            return ledge__nn_fail(nn, NN_INVALID_ARGUMENT,
                                  "the config has keys 'target' and 'threads', not '%.64s'", key);
        }
    }
    return NN_SUCCESS;
}

/* JSON; nothing at all is no wish. */
static NnErrno read_config(LedgeNn *nn, const uint8_t *bytes, uint32_t size, Config *c)
{
    if (!size)
        return NN_SUCCESS;
    if (size > CONFIG_MAX_BYTES)
        return ledge__nn_fail(nn, NN_TOO_LARGE, "a config of %u bytes is over 64 KiB", size);
    json_t *o = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
    const NnErrno e = json_is_object(o)
                          ? read_entries(nn, o, c)
                          : ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "the config is no JSON object");
    json_decref(o);
    /* More threads than the embedder gives are not to be had. */
    if (!e && nn->o.threads && c->threads > nn->o.threads)
        c->threads = nn->o.threads;
    return e;
}

static NnErrno load_named(LedgeNn *nn, const uint8_t *name, uint32_t size, const Config *c,
                          uint8_t *out)
{
    LedgeError err = {0};
    LedgeStatus status = LEDGE_ERROR_NOT_FOUND;
    NnGraph *g = NULL;
    const uint64_t begin = ledge__nn_now();
    NnErrno e = ledge__nn_check_time(nn);
    if (e)
        return e;
    const NnNamed *named =
        nn->o.names && size <= NN_NAME_BYTES
            ? ledge__nn_names_find(nn->o.names, (const char *)name, size, &err, &status)
            : NULL;
    nn->compute_ns += ledge__nn_now() - begin;
    if (!named && status == LEDGE_ERROR_NOT_FOUND && !err.message[0]) {
        snprintf(nn->missing, sizeof nn->missing, "%.*s",
                 (int)(size < NN_NAME_BYTES ? size : NN_NAME_BYTES), name);
        return ledge__nn_fail(nn, NN_NOT_FOUND,
                              "no model is called '%.*s'; --nn-preload NAME=PATH gives it",
                              (int)(size < NN_NAME_BYTES ? size : NN_NAME_BYTES), name);
    }
    if (!named)
        return ledge__nn_fail_status(nn, status, &err);
    e = new_graph(nn, &g);
    if (e)
        return e;
    g->named = true;
    g->model = named->model;
    if (c->threads)
        g->threads = c->threads;
    e = use_target(nn, g, c->target < 0 ? named->target : (NnTarget)c->target);
    if (e) {
        ledge__nn_graph_release(nn, g);
        return e;
    }
    ledge__nn_put32(out, ledge__nn_table_put(&nn->graphs, g));
    return NN_SUCCESS;
}

/* load_by_name(name, its bytes, graph) */
NnErrno ledge__wasi_ephemeral_nn__load_by_name(LedgeNn *nn, LedgeNnMemory memory,
                                               const uint32_t *args)
{
    const Config c = {.target = -1};
    const uint8_t *name = ledge__nn_at(memory, args[0], args[1], 1);
    uint8_t *out = ledge__nn_at(memory, args[2], 1, 4);
    if (!name)
        return ledge__nn_fail_at(nn, memory, "the name", args[0], args[1]);
    if (!out)
        return ledge__nn_fail_at(nn, memory, "the graph's place", args[2], 4);
    return load_named(nn, name, args[1], &c, out);
}

/* load_by_name_with_config(name, its bytes, config, its bytes, graph) */
NnErrno ledge__wasi_ephemeral_nn__load_by_name_with_config(LedgeNn *nn, LedgeNnMemory memory,
                                                           const uint32_t *args)
{
    Config c = {.target = -1};
    const uint8_t *name = ledge__nn_at(memory, args[0], args[1], 1);
    const uint8_t *config = ledge__nn_at(memory, args[2], args[3], 1);
    uint8_t *out = ledge__nn_at(memory, args[4], 1, 4);
    if (!name)
        return ledge__nn_fail_at(nn, memory, "the name", args[0], args[1]);
    if (!config)
        return ledge__nn_fail_at(nn, memory, "the config", args[2], args[3]);
    if (!out)
        return ledge__nn_fail_at(nn, memory, "the graph's place", args[4], 4);
    const NnErrno e = read_config(nn, config, args[3], &c);
    return e ? e : load_named(nn, name, args[1], &c, out);
}

/* unload(graph). Contexts of it go on: each holds the model. */
NnErrno ledge__wasi_ephemeral_nn__unload(LedgeNn *nn, LedgeNnMemory memory, const uint32_t *args)
{
    NnGraph *g = ledge__nn_table_take(&nn->graphs, args[0]);
    (void)memory;
    if (!g)
        return ledge__nn_fail(nn, NN_INVALID_ARGUMENT, "%u is no graph of this guest", args[0]);
    ledge__nn_graph_release(nn, g);
    return NN_SUCCESS;
}
