/* The engine inside WebAssembly (ledge_page.wasm through wasm2c) against the native one in the same
 * process, run by run in turn. Built by scripts/bench_wasm.sh.
 *
 *   bench_wasm_host MODEL.onnx [ROUNDS [CPU]]
 *
 * Both take a picture's bytes, so that both run the same graph. Prints the least and the median
 * milliseconds of each and their ratios. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ledge/ledge.h"
#include "page.h"
#include "wasm-rt.h"
#include "timing.h"

#define WASI(name)   w2c_wasi__snapshot__preview1_##name
#define WASI_SELF    struct w2c_wasi__snapshot__preview1 *self
#define NOT_HERE(name, ...)                                                                        \
    u32 WASI(name)(WASI_SELF, __VA_ARGS__);                                                        \
    u32 WASI(name)(WASI_SELF, __VA_ARGS__)                                                         \
    {                                                                                              \
        (void)self;                                                                                \
        return 8; /* EBADF */                                                                      \
    }

static w2c_page page;

static void put32(u32 at, u32 v)
{
    memcpy(page.w2c_memory.data + at, &v, sizeof v);
}

/* ---- the WASI calls that the module imports: a clock, nothing else ---- */

u32 WASI(clock_time_get)(WASI_SELF, u32 id, u64 precision, u32 out)
{
    struct timespec t;
    (void)self;
    (void)precision;
    clock_gettime(id ? CLOCK_MONOTONIC : CLOCK_REALTIME, &t);
    const u64 ns = (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
    memcpy(page.w2c_memory.data + out, &ns, sizeof ns);
    return 0;
}
u32 WASI(environ_sizes_get)(WASI_SELF, u32 count, u32 bytes)
{
    (void)self;
    put32(count, 0);
    put32(bytes, 0);
    return 0;
}
u32 WASI(environ_get)(WASI_SELF, u32 list, u32 bytes)
{
    (void)self;
    (void)list;
    (void)bytes;
    return 0;
}
void WASI(proc_exit)(WASI_SELF, u32 code)
{
    (void)self;
    exit((int)code);
}
NOT_HERE(fd_close, u32 a)
NOT_HERE(fd_fdstat_get, u32 a, u32 b)
NOT_HERE(fd_fdstat_set_flags, u32 a, u32 b)
NOT_HERE(fd_filestat_get, u32 a, u32 b)
NOT_HERE(fd_pread, u32 a, u32 b, u32 c, u64 d, u32 e)
NOT_HERE(fd_prestat_dir_name, u32 a, u32 b, u32 c)
NOT_HERE(fd_prestat_get, u32 a, u32 b)
NOT_HERE(fd_read, u32 a, u32 b, u32 c, u32 d)
NOT_HERE(fd_seek, u32 a, u64 b, u32 c, u32 d)
NOT_HERE(fd_write, u32 a, u32 b, u32 c, u32 d)
NOT_HERE(path_open, u32 a, u32 b, u32 c, u32 d, u32 e, u64 f, u64 g, u32 h, u32 i)

/* ---- the two sides ---- */

static void die(const char *what)
{
    fprintf(stderr, "bench_wasm_host: %s\n", what);
    exit(1);
}

static u32 give(const void *bytes, size_t n)
{
    const u32 at = w2c_page_ledge_page_alloc(&page, (u32)n);
    if (!at)
        die("the module has no memory left");
    memcpy(page.w2c_memory.data + at, bytes, n);
    return at;
}

static const char *text(u32 at)
{
    return at ? (const char *)page.w2c_memory.data + at : NULL;
}

static double wasm_once(u32 handle)
{
    const char *json = text(w2c_page_ledge_page_bench(&page, handle, 1));
    const char *min = json ? strstr(json, "\"min\": ") : NULL;
    if (!min)
        die(text(w2c_page_ledge_page_message(&page)));
    return strtod(min + 7, NULL);
}

static bool as_they_are(void *arg, const LedgeModel *m, size_t input, LedgePixels *out)
{
    (void)arg;
    out->channels_last = false;
    return ledge_model_input(m, input)->rank == 4;
}

typedef struct Native {
    LedgeSession *session;
    LedgeTensor input, *outputs;
    size_t n_outputs;
} Native;

static Native native_open(const void *bytes, size_t n, const char *cpu)
{
    const LedgeModelOptions mo = {.cpu = cpu, .pixels = as_they_are};
    const LedgeSessionOptions so = {.threads = 1};
    LedgeModel *model;
    LedgeError err = {0};
    Native v = {0};
    if (ledge_model_load_memory(bytes, n, &mo, &err, &model) ||
        ledge_session_create(model, &so, &err, &v.session))
        die(err.message);
    const LedgeTensorInfo *info = ledge_model_input(model, 0);
    v.input = (LedgeTensor){.type = info->type, .rank = info->rank};
    for (int i = 0; i < info->rank; i++)
        v.input.dims[i] = info->dims[i] < 0 ? 1 : info->dims[i];
    v.input.bytes = ledge_tensor_bytes(&v.input);
    v.input.data = malloc(v.input.bytes);
    for (size_t i = 0; i < v.input.bytes; i++)
        ((unsigned char *)v.input.data)[i] = (unsigned char)(i * 2654435761u >> 24);
    v.n_outputs = ledge_model_output_count(model);
    v.outputs = calloc(v.n_outputs, sizeof *v.outputs);
    return v;
}

static double native_once(Native *v)
{
    LedgeError err = {0};
    const double start = now_ms();
    if (ledge_session_run(v->session, &v->input, 1, v->outputs, v->n_outputs, &err))
        die(err.message);
    return now_ms() - start;
}

static void *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        die("cannot open the model");
    *n = (size_t)ftell(f);
    rewind(f);
    void *p = malloc(*n);
    if (!p || fread(p, 1, *n, f) != *n)
        die("cannot read the model");
    fclose(f);
    return p;
}

int main(int argc, char **argv)
{
    enum { MOST = 10000 };
    static double wasm[MOST], host[MOST];
    const int wanted = argc > 2 ? atoi(argv[2]) : 30;
    const int rounds = wanted < 1 ? 1 : wanted > MOST ? MOST : wanted;
    const char *cpu = argc > 3 ? argv[3] : "sse41";
    size_t n;
    if (argc < 2)
        die("usage: bench_wasm_host MODEL.onnx [ROUNDS [CPU]]");
    void *bytes = slurp(argv[1], &n);
    Native native = native_open(bytes, n, cpu);

    wasm_rt_init();
    wasm2c_page_instantiate(&page, NULL);
    w2c_page_0x5Finitialize(&page);
    const u32 handle = w2c_page_ledge_page_open(&page, give(bytes, n), (u32)n, give("none", 5));
    if (!handle)
        die(text(w2c_page_ledge_page_message(&page)));
    wasm_once(handle);
    native_once(&native);
    for (int i = 0; i < rounds; i++) {
        wasm[i] = wasm_once(handle);
        host[i] = native_once(&native);
    }
    qsort(wasm, (size_t)rounds, sizeof *wasm, by_value);
    qsort(host, (size_t)rounds, sizeof *host, by_value);
    const char *slash = strrchr(argv[1], '/');
    printf("%-32s wasm %8.3f ms (median %8.3f)  native %s %8.3f (%8.3f)  ratio %.2f (%.2f)\n",
           slash ? slash + 1 : argv[1], wasm[0], wasm[rounds / 2], cpu, host[0], host[rounds / 2],
           wasm[0] / host[0], wasm[rounds / 2] / host[rounds / 2]);
    return 0;
}
