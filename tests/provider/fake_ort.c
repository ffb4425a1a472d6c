/* A library that passes for ONNX Runtime, for tests of what can be wrong with one. Its sessions
 * know one model: input x, output y, y = max(x, 0). FAKE_ORT says how it misbehaves:
 *
 *   old      version 1.12.1, whose C API is too old         low     says 1.30.0, negotiates none
 *   crash    a segmentation fault when it is asked for its API    hang    never answers
 *   exit     ends the process                               plain   nothing: lists CPU and CUDA
 *   missing  lists CUDA, but cannot add it                  liar    adds CUDA and runs all on the
 * CPU half     adds CUDA, which runs all but the last node    oom2    CUDA's memory is enough for 2
 * rows oom0     it is enough for none                          record  as half, by the assignment
 * record refuse   refuses every model */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/provider/ort_api.h"

#define EXPORT __attribute__((visibility("default")))
#define SLOTS  420

struct OrtStatus {
    char message[200];
};
struct OrtValue {
    int64_t dims[8];
    size_t rank;
    float *data;
    int own;
};
struct OrtShapeInfo {
    const struct OrtValue *value;
};
struct OrtSessionOptions {
    int cuda, profile;
    char prefix[300];
};
struct OrtSession {
    struct OrtSessionOptions options;
};
struct OrtEpAssignedNode {
    const char *name;
};
struct OrtEpAssignedSubgraph {
    const char *provider;
    const struct OrtEpAssignedNode *nodes[1];
};

static int mode(const char *name)
{
    const char *m = getenv("FAKE_ORT");
    return m && strcmp(m, name) == 0;
}

static OrtStatus *say(const char *text)
{
    OrtStatus *s = malloc(sizeof *s);
    snprintf(s->message, sizeof s->message, "%s", text);
    return s;
}

static OrtStatus *nothing(void)
{
    return NULL;
}
static void nothing_to_release(void *p)
{
    (void)p;
}
static const char *fake_message(const OrtStatus *s)
{
    return s->message;
}
static OrtStatus *fake_env(int level, const char *id, OrtEnv **out)
{
    (void)level, (void)id;
    *out = calloc(1, 8);
    return NULL;
}
static OrtStatus *fake_options(OrtSessionOptions **out)
{
    *out = calloc(1, sizeof **out);
    return NULL;
}
static OrtStatus *fake_session(const OrtEnv *e, const char *path, const OrtSessionOptions *o,
                               OrtSession **out)
{
    (void)e, (void)path;
    if (mode("refuse"))
        return say("Fatal error: Foo(1) is not a registered function/op");
    *out = calloc(1, sizeof **out);
    (*out)->options = *o;
    return NULL;
}
static OrtStatus *fake_session_array(const OrtEnv *e, const void *bytes, size_t n,
                                     const OrtSessionOptions *o, OrtSession **out)
{
    (void)bytes, (void)n;
    return fake_session(e, NULL, o, out);
}
static OrtStatus *fake_count(const OrtSession *s, size_t *n)
{
    (void)s;
    *n = 1;
    return NULL;
}
static OrtStatus *fake_in_name(const OrtSession *s, size_t i, OrtAllocator *a, char **out)
{
    (void)s, (void)i, (void)a;
    *out = strdup("x");
    return NULL;
}
static OrtStatus *fake_out_name(const OrtSession *s, size_t i, OrtAllocator *a, char **out)
{
    (void)s, (void)i, (void)a;
    *out = strdup("y");
    return NULL;
}
static OrtStatus *fake_free(OrtAllocator *a, void *p)
{
    (void)a;
    free(p);
    return NULL;
}
static OrtStatus *fake_tensor(const OrtMemoryInfo *m, void *data, size_t bytes, const int64_t *dims,
                              size_t rank, int type, OrtValue **out)
{
    (void)m, (void)bytes, (void)type;
    OrtValue *v = calloc(1, sizeof *v);
    memcpy(v->dims, dims, rank * sizeof *dims);
    v->rank = rank;
    v->data = data;
    *out = v;
    return NULL;
}
static size_t count(const OrtValue *v)
{
    size_t n = 1;
    for (size_t d = 0; d < v->rank; d++)
        n *= (size_t)v->dims[d];
    return n;
}
static OrtStatus *fake_run(OrtSession *s, const OrtRunOptions *o, const char *const *names,
                           const OrtValue *const *in, size_t n, const char *const *out_names,
                           size_t n_out, OrtValue **out)
{
    (void)o, (void)names, (void)n, (void)out_names, (void)n_out;
    if (s->options.cuda && (mode("oom0") || (mode("oom2") && in[0]->dims[0] > 2)))
        return say("CUDA failure 2: out of memory ; GPU=0");
    OrtValue *y = calloc(1, sizeof *y);
    *y = *in[0];
    y->own = 1;
    y->data = malloc(count(y) * sizeof(float) + 1);
    for (size_t i = 0; i < count(y); i++)
        y->data[i] = in[0]->data[i] > 0 ? in[0]->data[i] : 0;
    out[0] = y;
    return NULL;
}
static void fake_release_value(OrtValue *v)
{
    if (v->own)
        free(v->data);
    free(v);
}
static OrtStatus *fake_is_tensor(const OrtValue *v, int *out)
{
    (void)v;
    *out = 1;
    return NULL;
}
static OrtStatus *fake_info(const OrtValue *v, OrtShapeInfo **out)
{
    *out = malloc(sizeof **out);
    (*out)->value = v;
    return NULL;
}
static OrtStatus *fake_type(const OrtShapeInfo *i, int *out)
{
    (void)i;
    *out = 1;
    return NULL;
}
static OrtStatus *fake_rank(const OrtShapeInfo *i, size_t *out)
{
    *out = i->value->rank;
    return NULL;
}
static OrtStatus *fake_dims(const OrtShapeInfo *i, int64_t *dims, size_t n)
{
    memcpy(dims, i->value->dims, n * sizeof *dims);
    return NULL;
}
static OrtStatus *fake_data(OrtValue *v, void **out)
{
    *out = v->data;
    return NULL;
}
static OrtStatus *fake_available(char ***out, int *n)
{
    static char cuda[] = "CUDAExecutionProvider", cpu[] = "CPUExecutionProvider";
    static char *names[] = {cuda, cpu};
    *out = names;
    *n = 2;
    return NULL;
}
static OrtStatus *fake_cuda_options(OrtProviderOptionsV2 **out)
{
    *out = calloc(1, 8);
    return NULL;
}
static OrtStatus *fake_append_cuda(OrtSessionOptions *o, const OrtProviderOptionsV2 *v)
{
    (void)v;
    if (mode("missing"))
        return say("Failed to load libcublasLt.so.12: no such file");
    o->cuda = 1;
    return NULL;
}
static OrtStatus *fake_profiling(OrtSessionOptions *o, const char *prefix)
{
    o->profile = 1;
    snprintf(o->prefix, sizeof o->prefix, "%s", prefix);
    return NULL;
}

#define EVENT                                                                                      \
    "{\"cat\" : \"Node\",\"name\" :\"%s_kernel_time\",\"args\" : {\"op_name\" : \"%s\","           \
    "\"provider\" : \"%s\"}},\n"

static OrtStatus *fake_end_profiling(OrtSession *s, OrtAllocator *a, char **out)
{
    const char *cuda = "CUDAExecutionProvider", *cpu = "CPUExecutionProvider";
    char path[400];
    (void)a;
    snprintf(path, sizeof path, "%s_1.json", s->options.prefix);
    FILE *f = fopen(path, "w");
    if (f) {
        fprintf(f, "[\n{\"cat\" : \"Session\",\"name\" :\"model_run\"},\n");
        fprintf(f, EVENT, "a", "Relu", mode("liar") ? cpu : cuda);
        fprintf(f, EVENT, "b", "Relu", mode("liar") || mode("half") ? cpu : cuda);
        fclose(f);
    }
    *out = strdup(path);
    return NULL;
}

/* ---- the assignment record ---- */

static const struct OrtEpAssignedNode first = {"a"}, second = {"b"};
static const struct OrtEpAssignedSubgraph on_cuda = {"CUDAExecutionProvider", {&first}},
                                          on_cpu = {"CPUExecutionProvider", {&second}};
static const OrtEpAssignedSubgraph *const both[] = {&on_cuda, &on_cpu};

static OrtStatus *fake_assignment(const OrtSession *s, const OrtEpAssignedSubgraph *const **out,
                                  size_t *n)
{
    (void)s;
    *out = both;
    *n = 2;
    return NULL;
}
static OrtStatus *fake_sub_provider(const OrtEpAssignedSubgraph *p, const char **out)
{
    *out = p->provider;
    return NULL;
}
static OrtStatus *fake_sub_nodes(const OrtEpAssignedSubgraph *p,
                                 const OrtEpAssignedNode *const **out, size_t *n)
{
    *out = p->nodes;
    *n = 1;
    return NULL;
}
static OrtStatus *fake_node_name(const OrtEpAssignedNode *p, const char **out)
{
    *out = p->name;
    return NULL;
}
static OrtStatus *fake_node_op(const OrtEpAssignedNode *p, const char **out)
{
    (void)p;
    *out = "Relu";
    return NULL;
}

/* ---- the table ---- */

static void *table[SLOTS];

#define PUT(slot, function)                                                                        \
    do {                                                                                           \
        __typeof__(&function) f_ = &function;                                                      \
        memcpy(&table[slot], &f_, sizeof f_);                                                      \
    } while (0)

static void fill_sessions(void)
{
    PUT(3, fake_env);
    PUT(7, fake_session);
    PUT(8, fake_session_array);
    PUT(9, fake_run);
    PUT(10, fake_options);
    PUT(14, fake_profiling);
    PUT(30, fake_count);
    PUT(31, fake_count);
    PUT(36, fake_in_name);
    PUT(37, fake_out_name);
    PUT(110, fake_end_profiling);
    PUT(125, fake_available);
    PUT(204, fake_append_cuda);
    PUT(205, fake_cuda_options);
    PUT(407, fake_assignment);
    PUT(408, fake_sub_provider);
    PUT(409, fake_sub_nodes);
    PUT(410, fake_node_name);
    PUT(412, fake_node_op);
}

static void fill_values(void)
{
    PUT(49, fake_tensor);
    PUT(50, fake_is_tensor);
    PUT(51, fake_data);
    PUT(60, fake_type);
    PUT(61, fake_rank);
    PUT(62, fake_dims);
    PUT(65, fake_info);
    PUT(76, fake_free);
}

static void fill_releases(void)
{
    static const int freed[] = {92, 93, 95, 99, 100, 208};
    for (size_t i = 0; i < sizeof freed / sizeof *freed; i++)
        PUT(freed[i], free);
    PUT(94, nothing_to_release);
    PUT(96, fake_release_value);
}

static const void *get_api(uint32_t version)
{
    if (mode("old") || mode("low"))
        return version <= 12 ? table : NULL;
    for (size_t i = 0; i < SLOTS; i++)
        PUT(i, nothing);
    PUT(2, fake_message);
    fill_sessions();
    fill_values();
    fill_releases();
    return table;
}

/* Without the assignment record unless the test is of that. */
static const char *version(void)
{
    return mode("old") ? "1.12.1" : mode("low") || mode("record") ? "1.30.0" : "1.20.0";
}

EXPORT const OrtApiBase *OrtGetApiBase(void);
EXPORT const OrtApiBase *OrtGetApiBase(void)
{
    static const OrtApiBase base = {get_api, version};
    if (mode("crash"))
        raise(SIGSEGV);
    if (mode("hang"))
        for (;;)
            sleep(1000);
    if (mode("exit"))
        exit(3);
    return &base;
}
