/* A host of the guest examples/guest_classify.c as a reactor: edge_infer by exported calls.
 *
 *   edge_host EDGE.lwm MODEL PICTURE.ppm      prints the guest's answer; then the misuse of it
 *   edge_host --time EDGE.lwm MODEL [RUNS]    minima: instances, an empty call, wasi-nn against the
 *                                             same model natively, in turn */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wasm/runner/guest.h"

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "edge_host: %s\n", what);
        exit(1);
    }
}

static void must_ok(LedgeStatus status, const LedgeError *err)
{
    if (status) {
        fprintf(stderr, "edge_host: %s: %s\n", err->where, err->message);
        exit(1);
    }
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint32_t call(LedgeGuest *g, const char *name, uint32_t a, uint32_t b)
{
    LedgeError err = {0};
    LedgeGuestResult r;
    uint64_t v[2] = {a, b};
    must_ok(ledge__guest_call(g, name, v, 2, &err, &r), &err);
    must(r.end == LEDGE_GUEST_RETURNED, r.sentence);
    return (uint32_t)v[0];
}

static LedgeGuest *start(LedgeGuestModule *m, const LedgeGuestOptions *o)
{
    LedgeError err = {0};
    LedgeGuest *g = NULL;
    must_ok(ledge__guest_new(m, o, &err, &g), &err);
    call(g, "_initialize", 0, 0);
    return g;
}

/* The guest's answer to a request; valid until the next one. */
static const char *infer(LedgeGuest *g, const char *json)
{
    static char answer[1 << 16];
    const uint32_t n = (uint32_t)strlen(json), at = call(g, "edge_alloc", n, 0);
    uint8_t *to = ledge__guest_at(g, at, n);
    must(at && to, "edge_alloc gave nothing");
    memcpy(to, json, n);
    const uint32_t result = call(g, "edge_infer", at, n);
    call(g, "edge_free", at, 0);
    must(result, "edge_infer gave nothing");
    size_t i = 0;
    for (; i + 1 < sizeof answer; i++) {
        const uint8_t *p = ledge__guest_at(g, result + (uint32_t)i, 1);
        must(p, "the answer runs out of memory");
        answer[i] = (char)*p;
        if (!*p)
            break;
    }
    answer[i] = '\0';
    call(g, "edge_free", result, 0);
    return answer;
}

static uint8_t *read_ppm(const char *path, unsigned *w, unsigned *h)
{
    FILE *f = fopen(path, "rb");
    must(f && fscanf(f, "P6 %u %u 255", w, h) == 2 && fgetc(f) != EOF, "no PPM");
    uint8_t *rgb = malloc((size_t)*w * *h * 3);
    must(rgb && fread(rgb, 3, (size_t)*w * *h, f) == (size_t)*w * *h, "a short PPM");
    fclose(f);
    return rgb;
}

/* As a list of numbers, or as base64. */
static char *request(const uint8_t *rgb, unsigned w, unsigned h, bool base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t n = (size_t)w * h * 3;
    char *json = malloc(n * 4 + 256), *p = json;
    must(json, "no memory");
    p += sprintf(
        p,
        "{\"width\":%u, \"height\":%u, \"model_id\":\"net\", \"confidence_threshold\":0.01, "
        "\"extra\":{\"a\":[1,\"}\"]}, \"image_data\":%c",
        w, h, base64 ? '"' : '[');
    for (size_t i = 0; !base64 && i < n; i++)
        p += sprintf(p, "%s%u", i ? "," : "", rgb[i]);
    for (size_t i = 0; base64 && i < n; i += 3) {
        const uint32_t v = (uint32_t)rgb[i] << 16 | (uint32_t)rgb[i + 1] << 8 | rgb[i + 2];
        for (int k = 18; k >= 0; k -= 6)
            *p++ = digits[v >> k & 63];
    }
    strcpy(p, base64 ? "\"}" : "]}");
    return json;
}

static void check_use(LedgeGuest *g, const char *picture)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"width\":1}",
        "{\"width\":1,\"height\":1,\"model_id\":\"net\",\"image_data\":[1,2]}",
        "{\"width\":1,\"height\":1,\"model_id\":\"net\",\"image_data\":\"!!!!\"}",
        "{\"width\":1e9,\"height\":1e9,\"model_id\":\"net\",\"image_data\":[]}",
        "{\"width\":1,\"height\":1,\"model_id\":\"gone\",\"image_data\":[1,2,3]}",
        "{\"width\":1,\"height\":1,\"model_id\":\"net\",\"image_data\":[1,2,300]}",
        "{\"width\":\"\\u0000\",\"model_id\":{{{{{{[[[[[[\"net\"",
        "{\"image_data\":\"AAAA\\"};
    unsigned w = 0, h = 0;
    uint8_t *rgb = read_ppm(picture, &w, &h);
    char *list = request(rgb, w, h, false), *text = request(rgb, w, h, true);
    char *first = strdup(infer(g, list));
    puts(first);
    first[strcspn(first, "]")] = '\0';
    must(strncmp(infer(g, text), first, strlen(first)) == 0, "base64 gives another answer");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must(strncmp(infer(g, bad[i]), "{\"error\":", 9) == 0, bad[i]);
    const uint32_t pages = ledge__guest_counts(g).pages;
    for (int i = 0; i < 50; i++)
        must(strncmp(infer(g, text), first, strlen(first)) == 0, "a later answer differs");
    must(ledge__guest_counts(g).pages == pages, "the guest's memory grows with each call");
    free(rgb);
    free(list);
    free(text);
    free(first);
}

/* ---- times ---- */

static double least(double a, double b)
{
    return a < b ? a : b;
}

static void time_instances(LedgeGuestModule *m, const LedgeGuestOptions *o)
{
    LedgeError err = {0};
    double made = 1e9, freed = 1e9, empty = 1e9;
    for (int i = 0; i < 300; i++) {
        LedgeGuest *g = NULL;
        const double a = now_us();
        must_ok(ledge__guest_new(m, o, &err, &g), &err);
        const double b = now_us();
        ledge__guest_free(g);
        made = least(made, b - a);
        freed = least(freed, now_us() - b);
    }
    LedgeGuest *g = start(m, o);
    for (int i = 0; i < 1000; i++) {
        const double a = now_us();
        call(g, "edge_free", 0, 0);
        empty = least(empty, now_us() - a);
    }
    ledge__guest_free(g);
    printf("instantiate %.1f us, free %.1f us, empty call %.2f us\n", made, freed, empty);
}

/* The wasi-nn calls as the guest makes them, against the same session natively. */
static void time_nn(const char *path, LedgeNnNames *names, int runs)
{
    static uint8_t memory[16 << 20];
    LedgeError err = {0};
    LedgeNn *nn;
    LedgeModel *model;
    LedgeSession *session;
    const LedgeNnOptions o = {.names = names, .threads = 1};
    const LedgeSessionOptions so = {.threads = 1};
    uint32_t graph, context, bytes;
    const LedgeNnMemory mem = {memory, sizeof memory};
    must(ledge__nn_new(&o, &nn) == LEDGE_OK, "no memory");
    must_ok(ledge_model_load(path, NULL, &err, &model), &err);
    must_ok(ledge_session_create(model, &so, &err, &session), &err);
    LedgeTensor in = {.type = LEDGE_FLOAT, .rank = 4}, out = {0};
    const LedgeTensorInfo *info = ledge_model_input(model, 0);
    for (int d = 0; d < 4; d++)
        in.dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
    in.bytes = ledge_tensor_bytes(&in);
    in.data = calloc(1, in.bytes);
    const LedgeNnFunction *f[9] = {0};
    static const char *const wanted[] = {"load_by_name", "init_execution_context", "set_input",
                                         "compute", "get_output"};
    for (int i = 0; i < 5; i++)
        for (const LedgeNnFunction *k = ledge__nn_functions; k->name; k++)
            if (strcmp(k->name, wanted[i]) == 0)
                f[i] = k;
    memcpy(memory + 64, "net", 3);
    must(!ledge__nn_call(nn, f[0], mem, (uint32_t[]){64, 3, 0}), "load_by_name");
    memcpy(&graph, memory, 4);
    must(!ledge__nn_call(nn, f[1], mem, (uint32_t[]){graph, 0}), "init_execution_context");
    memcpy(&context, memory, 4);
    for (int d = 0; d < 4; d++)
        memcpy(memory + 128 + 4 * d, &(uint32_t){(uint32_t)in.dims[d]}, 4);
    memcpy(memory + 96, (uint32_t[]){128, 4, 1, 4096, (uint32_t)in.bytes}, 20);
    double native = 1e9, guest = 1e9;
    /* In turn by tens: each has a model of its own, and the first run after the other's finds none
     * of it in the caches. */
    for (int i = 0; i < runs; i++) {
        const bool ours = i / 10 % 2 == 0;
        const double a = now_us();
        if (ours) {
            must_ok(ledge_session_run(session, &in, 1, &out, 1, &err), &err);
            native = least(native, now_us() - a);
            continue;
        }
        must(!ledge__nn_call(nn, f[2], mem, (uint32_t[]){context, 0, 96}) &&
                 !ledge__nn_call(nn, f[3], mem, (uint32_t[]){context}) &&
                 !ledge__nn_call(nn, f[4], mem, (uint32_t[]){context, 0, 8 << 20, 1 << 20, 0}),
             "the guest's calls");
        guest = least(guest, now_us() - a);
        memcpy(&bytes, memory, 4);
        must(bytes == ledge_tensor_bytes(&out) && memcmp(memory + (8 << 20), out.data, bytes) == 0,
             "the answers differ");
    }
    printf("native %.3f ms, set_input + compute + get_output %.3f ms, ratio %.4f\n", native / 1e3,
           guest / 1e3, guest / native);
    ledge_session_free(session);
    ledge_model_free(model);
    ledge__nn_free(nn);
    free(in.data);
}

int main(int argc, char **argv)
{
    const bool timing = argc > 1 && strcmp(argv[1], "--time") == 0;
    const int first = timing ? 2 : 1;
    LedgeError err = {0};
    LedgeGuestModule *m = NULL;
    LedgeNnNames *names = NULL;
    char word[4200];
    must(argc >= first + 2 && (timing || argc == 4), "usage: see the source");
    must_ok(ledge__guest_open(argv[first], NULL, 0, &err, &m), &err);
    must(ledge__nn_names_new(NULL, &names) == LEDGE_OK, "no memory");
    snprintf(word, sizeof word, "net=%s", argv[first + 1]);
    must_ok(ledge__nn_names_add(names, word, &err), &err);
    must_ok(ledge__nn_names_load(names, 0, &err), &err);
    const LedgeGuestOptions o = {.nn = {.names = names, .threads = 1}};
    if (timing) {
        time_instances(m, &o);
        time_nn(argv[first + 1], names, argc > first + 2 ? atoi(argv[first + 2]) : 200);
    } else {
        LedgeGuest *g = start(m, &o);
        check_use(g, argv[3]);
        ledge__guest_free(g);
    }
    ledge__nn_names_free(names);
    ledge__guest_close(m);
    return 0;
}
