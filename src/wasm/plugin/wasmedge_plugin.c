/* A plugin for the stock `wasmedge` command (and any program with libwasmedge): guests that import
 * wasi_ephemeral_nn, or ledge_nn, get ledge's engine.
 *
 * WasmEdge loads it from WASMEDGE_PLUGIN_PATH. It is linked against ledge, not against WasmEdge:
 * the process that loads it has those functions. One LedgeNn serves one virtual machine: WasmEdge
 * creates a plugin's module instances one after the other on one thread, so the pair of them meets
 * in a variable of the thread. Models by name: --nn-preload NAME=PATH[;NAME=PATH], or the same in
 * LEDGE_NN_PRELOAD.
 *
 * Of a plugin named wasi_nn, which guests must find by that name, WasmEdge takes the module
 * wasi_nn alone; so ledge_nn comes by a second library, wasmedge_info.c. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmedge/wasmedge.h>

#include "wasm/wasi_nn/wasi_nn.h"

static WasmEdge_String preload; /* filled in by WasmEdge from its command line */

/* ---- models by name, shared by all virtual machines of the process ---- */

static LedgeNnNames *names;
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

static void add_names(char *list)
{
    char *save = NULL;
    for (char *word = strtok_r(list, ";", &save); word; word = strtok_r(NULL, ";", &save)) {
        LedgeError err = {0};
        if (ledge__nn_names_add(names, word, &err))
            fprintf(stderr, "ledge: --nn-preload %s: %s\n", word, err.message);
    }
}

static void make_names(void)
{
    const char *given = getenv("LEDGE_NN_PRELOAD");
    if (ledge__nn_names_new(NULL, &names))
        return;
    char *copy = given ? strdup(given) : NULL;
    if (copy)
        add_names(copy);
    free(copy);
    copy = preload.Length ? strndup(preload.Buf, preload.Length) : NULL;
    if (copy)
        add_names(copy);
    free(copy);
}

/* ---- one virtual machine ---- */

typedef struct Shared {
    _Atomic int references;
    LedgeNn *nn;
} Shared;

static _Thread_local Shared *waiting; /* made for one module, not yet taken by the other */
static _Thread_local const char *waiting_for;

static void release(void *data)
{
    Shared *s = data;
    if (!s || --s->references)
        return;
    ledge__nn_free(s->nn);
    free(s);
}

static Shared *shared_for(const char *module)
{
    Shared *s = waiting;
    if (s && strcmp(waiting_for, module) == 0) {
        waiting = NULL;
        return s; /* with the reference that was kept for this module */
    }
    if (s) /* the other half was never asked for */
        release(s);
    pthread_once(&names_once, make_names);
    s = calloc(1, sizeof *s);
    const LedgeNnOptions o = {.names = names};
    if (!s || ledge__nn_new(&o, &s->nn)) {
        free(s);
        waiting = NULL;
        return NULL;
    }
    s->references = 2;
    waiting = s;
    waiting_for = strcmp(module, "ledge_nn") == 0 ? "wasi_ephemeral_nn" : "ledge_nn";
    return s;
}

/* ---- calls ---- */

typedef struct Binding {
    Shared *shared;
    const LedgeNnFunction *function;
} Binding;

enum { MOST_FUNCTIONS = 32 };
typedef struct Module {
    Shared *shared;
    Binding bindings[MOST_FUNCTIONS];
} Module;

static WasmEdge_Result call(void *data, const WasmEdge_CallingFrameContext *frame,
                            const WasmEdge_Value *in, WasmEdge_Value *out)
{
    const Binding *b = data;
    LedgeNnMemory memory = {0};
    uint32_t args[8] = {0};
    WasmEdge_MemoryInstanceContext *m = WasmEdge_CallingFrameGetMemoryInstance(frame, 0);
    if (m) {
        memory.size = (uint64_t)WasmEdge_MemoryInstanceGetPageSize(m) * 65536;
        memory.base = memory.size ? WasmEdge_MemoryInstanceGetPointer(m, 0, 1) : NULL;
    }
    for (uint32_t i = 0; i < b->function->params; i++)
        args[i] = (uint32_t)WasmEdge_ValueGetI32(in[i]);
    out[0] =
        WasmEdge_ValueGenI32((int32_t)ledge__nn_call(b->shared->nn, b->function, memory, args));
    return WasmEdge_Result_Success;
}

static void end_module(void *data)
{
    Module *m = data;
    release(m->shared);
    free(m);
}

static void add_function(WasmEdge_ModuleInstanceContext *to, Binding *b)
{
    WasmEdge_ValType types[8];
    const WasmEdge_ValType i32 = WasmEdge_ValTypeGenI32();
    for (int i = 0; i < 8; i++)
        types[i] = i32;
    WasmEdge_FunctionTypeContext *type =
        WasmEdge_FunctionTypeCreate(types, b->function->params, types, 1);
    WasmEdge_String name = WasmEdge_StringCreateByCString(b->function->name);
    WasmEdge_ModuleInstanceAddFunction(to, name, WasmEdge_FunctionInstanceCreate(type, call, b, 0));
    WasmEdge_StringDelete(name);
    WasmEdge_FunctionTypeDelete(type);
}

static WasmEdge_ModuleInstanceContext *create(const char *module)
{
    Module *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->shared = shared_for(module);
    if (!m->shared) {
        free(m);
        return NULL;
    }
    WasmEdge_String name = WasmEdge_StringCreateByCString(module);
    WasmEdge_ModuleInstanceContext *made =
        WasmEdge_ModuleInstanceCreateWithData(name, m, end_module);
    WasmEdge_StringDelete(name);
    size_t n = 0;
    for (const LedgeNnFunction *f = ledge__nn_functions; made && f->name; f++)
        if (strcmp(f->module, module) == 0 && n < MOST_FUNCTIONS) {
            m->bindings[n] = (Binding){m->shared, f};
            add_function(made, &m->bindings[n++]);
        }
    if (!made)
        end_module(m);
    return made;
}

static WasmEdge_ModuleInstanceContext *create_nn(const struct WasmEdge_ModuleDescriptor *desc)
{
    (void)desc;
    return create("wasi_ephemeral_nn");
}

/* For wasmedge_info.c. */
__attribute__((visibility("default"))) WasmEdge_ModuleInstanceContext *
ledge_wasmedge_create_info(void);

WasmEdge_ModuleInstanceContext *ledge_wasmedge_create_info(void)
{
    return create("ledge_nn");
}

/* ---- what WasmEdge looks for ---- */

static WasmEdge_ModuleDescriptor modules[] = {
    {.Name = "wasi_nn", .Description = "wasi-nn over ledge", .Create = create_nn},
};

static const WasmEdge_String no_preload = {0};

static WasmEdge_ProgramOption options[] = {
    {.Name = "nn-preload",
     .Description = "models that guests load by name: NAME=PATH or NAME:ONNX:CPU:PATH, ';' between",
     .Type = WasmEdge_ProgramOptionType_String,
     .Storage = &preload,
     .DefaultValue = &no_preload},
};

static WasmEdge_PluginDescriptor plugin = {
    .Name = "wasi_nn",
    .Description = "ONNX models by ledge",
    .APIVersion = WasmEdge_Plugin_CurrentAPIVersion,
    .Version = {LEDGE_VERSION_MAJOR, LEDGE_VERSION_MINOR, LEDGE_VERSION_PATCH, 0},
    .ModuleCount = sizeof modules / sizeof *modules,
    .ProgramOptionCount = sizeof options / sizeof *options,
    .ModuleDescriptions = modules,
    .ProgramOptions = options,
};

WASMEDGE_CAPI_PLUGIN_EXPORT const WasmEdge_PluginDescriptor *WasmEdge_Plugin_GetDescriptor(void)
{
    return &plugin;
}
