/* Graphs for tests from a few lines of text, see graph_from_text.h. */
#include "graph_from_text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "engine/optimize/optimize.h"
#include "ledge/ledge.h"

enum { FOLD = 1 << 20 };

typedef struct Reader {
    LedgeGraph *g;
    const char *p; /* in a line */
    uint32_t seed;
} Reader;

static void skip_spaces(Reader *r)
{
    while (*r->p == ' ')
        r->p++;
}

static bool take(Reader *r, const char *token)
{
    skip_spaces(r);
    size_t n = strlen(token);
    if (strncmp(r->p, token, n) != 0)
        return false;
    r->p += n;
    return true;
}

static void need(Reader *r, const char *token)
{
    if (!take(r, token))
        fail_msg("expected '%s' at '%s'", token, r->p);
}

static char *word(Reader *r)
{
    skip_spaces(r);
    size_t n = strcspn(r->p, " ,()[]{}=\n");
    char *s = ledge__arena_strn(r->g->arena, r->p, n);
    assert_non_null(s);
    r->p += n;
    return s;
}

static LedgeValue *find(const LedgeGraph *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_values; i++)
        if (strcmp(g->values[i]->name, name) == 0)
            return g->values[i];
    return NULL;
}

static LedgeValue *value(Reader *r, const char *name)
{
    LedgeValue *v = find(r->g, name);
    v = v ? v : ledge__value_new(r->g, name);
    assert_non_null(v);
    return v;
}

static LedgeTensor type(Reader *r)
{
    static const struct {
        const char *name;
        LedgeType type;
    } names[] = {{"f32", LEDGE_FLOAT}, {"i64", LEDGE_INT64}, {"i32", LEDGE_INT32},
                 {"u8", LEDGE_UINT8},  {"i8", LEDGE_INT8},   {"bool", LEDGE_BOOL},
                 {"i16", LEDGE_INT16}, {"i4", LEDGE_INT4},   {"u4", LEDGE_UINT4}};
    LedgeTensor t = {.rank = 0};
    const char *name = word(r);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i].name) == 0)
            t.type = names[i].type;
    assert_int_not_equal(t.type, LEDGE_TYPE_NONE);
    need(r, "[");
    while (!take(r, "]")) {
        take(r, ",");
        t.dims[t.rank++] = take(r, "?") ? -1 : strtoll(r->p, (char **)&r->p, 10);
    }
    return t;
}

static double random_number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

static void put_number(LedgeTensor *t, int64_t i, double x)
{
    char *p = t->data;
    if (t->type == LEDGE_FLOAT)
        ((float *)(void *)p)[i] = (float)x;
    else if (t->type == LEDGE_INT64)
        ((int64_t *)(void *)p)[i] = (int64_t)x;
    else if (t->type == LEDGE_INT32)
        ((int32_t *)(void *)p)[i] = (int32_t)x;
    else if (t->type == LEDGE_INT16)
        ((int16_t *)(void *)p)[i] = (int16_t)x;
    else if (t->type == LEDGE_INT4 || t->type == LEDGE_UINT4)
        p[i / 2] = (char)(p[i / 2] | ((int)x & 15) << (i % 2 * 4));
    else
        p[i] = (char)(int)x;
}

/* A number in -1 … 1 spread over what an integer type is used for. */
static double spread(LedgeType type, double x)
{
    return type == LEDGE_INT8 ? 127 * x : type == LEDGE_UINT8 ? 127.5 + 127.5 * x
           : type == LEDGE_INT4 ? 7.9 * x : type == LEDGE_UINT4 ? 7.5 + 7.5 * x
                                      : type == LEDGE_INT32 ? 1000 * x : x;
}

static void constant(Reader *r)
{
    const char *name = word(r);
    LedgeTensor t = type(r);
    LedgeValue *v = ledge__value_constant(r->g, name, &t, false);
    assert_non_null(v);
    bool given = take(r, "="), positive = take(r, "positive");
    for (int64_t i = 0; i < ledge_tensor_count(&t); i++) {
        double x = given ? strtod(r->p, (char **)&r->p) : spread(t.type, random_number(&r->seed));
        put_number(&v->t, i, positive ? 1 + 0.5 * x : x);
        take(r, ",");
    }
}

static void list_attr(Reader *r, LedgeNode *n, const char *name)
{
    int64_t v[16];
    size_t count = 0;
    while (!take(r, "]")) {
        take(r, ",");
        v[count++] = strtoll(r->p, (char **)&r->p, 10);
    }
    assert_true(ledge__node_set_ints(r->g, n, name, v, count));
}

static void attr(Reader *r, LedgeNode *n)
{
    const char *name = word(r);
    need(r, "=");
    if (take(r, "[")) {
        list_attr(r, n, name);
    } else if (take(r, "\"")) {
        size_t len = strcspn(r->p, "\"");
        assert_true(
            ledge__node_set_string(r->g, n, name, ledge__arena_strn(r->g->arena, r->p, len)));
        r->p += len + 1;
    } else {
        const char *start = r->p;
        double x = strtod(start, (char **)&r->p);
        bool is_float = memchr(start, '.', (size_t)(r->p - start)) ||
                        memchr(start, 'e', (size_t)(r->p - start));
        assert_true(is_float ? ledge__node_set_float(r->g, n, name, (float)x)
                             : ledge__node_set_int(r->g, n, name, (int64_t)x));
    }
}

static void node(Reader *r)
{
    const char *outs[8], *ins[16];
    uint32_t n_out = 0, n_in = 0;
    do
        outs[n_out++] = word(r);
    while (take(r, ","));
    need(r, "=");
    char *op = word(r), *dot = strrchr(op, '.');
    need(r, "(");
    while (!take(r, ")")) {
        take(r, ",");
        ins[n_in++] = word(r);
    }
    if (dot)
        *dot = 0;
    LedgeNode *n =
        ledge__node_new(r->g, dot ? op : "", dot ? dot + 1 : op, outs[0], n_in, n_out, NULL);
    assert_non_null(n);
    for (uint32_t i = 0; i < n_in; i++)
        ledge__node_set_input(n, i, strcmp(ins[i], "_") == 0 ? NULL : value(r, ins[i]));
    for (uint32_t i = 0; i < n_out; i++)
        ledge__node_set_output(n, i, strcmp(outs[i], "_") == 0 ? NULL : value(r, outs[i]));
    if (take(r, "{"))
        while (!take(r, "}")) {
            take(r, ",");
            attr(r, n);
        }
}

static void line(Reader *r)
{
    if (take(r, "opset ")) {
        r->g->opset = atoi(r->p);
    } else if (take(r, "input ")) {
        LedgeValue *v = value(r, word(r));
        v->t = type(r);
        assert_true(ledge__graph_add_input(r->g, v));
    } else if (take(r, "const ")) {
        constant(r);
    } else if (take(r, "output ")) {
        assert_true(ledge__graph_add_output(r->g, value(r, word(r))));
    } else if (*r->p) {
        node(r);
    }
}

static void must(LedgeStatus s, const LedgeError *err)
{
    if (s != LEDGE_OK)
        fail_msg("%s: %s: %s", ledge_status_text(s), err->where, err->message);
}

LedgeGraph *graph_from_text(const char *text)
{
    Reader r = {.seed = 1};
    LedgeError err = {0};
    assert_int_equal(ledge__graph_new(NULL, &r.g), LEDGE_OK);
    r.g->opset = 13;
    while (*text) {
        size_t n = strcspn(text, "\n");
        r.p = ledge__arena_strn(r.g->arena, text, n);
        line(&r);
        text += n + (text[n] == '\n');
    }
    must(ledge__ops_bind(r.g, &err), &err);
    must(ledge__graph_infer(r.g, 0, &err), &err);
    return r.g;
}

/* Made-up names get small numbers, so that a test does not depend on how many were made. */
char *text_of_graph(const LedgeGraph *g)
{
    char *text = ledge__graph_text(g, NULL);
    assert_non_null(text);
    char *p = text, *out = text;
    long seen[256];
    int n_seen = 0;
    while (strncmp(p, "input ", 6) == 0)
        p = strchr(p, '\n') + 1;
    while (*p) {
        if (strncmp(p, "ledge_v", 7) != 0) {
            *out++ = *p++;
            continue;
        }
        long id = strtol(p + 7, &p, 10);
        int k = 0;
        while (k < n_seen && seen[k] != id)
            k++;
        assert_true(k < 256);
        seen[k] = id;
        n_seen = k == n_seen ? k + 1 : n_seen;
        out += sprintf(out, "%%%d", k);
    }
    *out = 0;
    return text;
}

static void assert_text(const LedgeGraph *g, const char *expected)
{
    char *text = text_of_graph(g);
    assert_null(ledge__graph_check(g));
    assert_string_equal(text, expected);
    ledge__free(NULL, text);
}

void assert_pass(const char *pass, const char *before, const char *after)
{
    LedgeOptOptions o = {.fold_limit = FOLD};
    LedgeError err = {0};
    bool changed = false;
    LedgeGraph *g = graph_from_text(before);
    char *untouched = text_of_graph(g);
    must(ledge__opt_run_pass(g, &o, pass, &changed, &err), &err);
    assert_int_equal(changed, after != NULL);
    must(ledge__graph_infer(g, 0, &err), &err); /* what the pass says of shapes must hold */
    assert_text(g, after ? after : untouched);
    ledge__free(NULL, untouched);
    ledge__graph_free(g);
}

static void optimized(const char *before, const char *after, bool portable)
{
    LedgeOptOptions o = {.fold_limit = FOLD, .portable = portable};
    LedgeError err = {0};
    LedgeGraph *g = graph_from_text(before);
    g->keeps_dequantize = !portable; /* as when a model is loaded */
    must(ledge__graph_optimize(g, &o, &err), &err);
    assert_text(g, after);
    ledge__graph_free(g);
}

void assert_optimized(const char *before, const char *after)
{
    optimized(before, after, false);
}

void assert_optimized_portable(const char *before, const char *after)
{
    assert_null(strstr(after, "ledge."));
    optimized(before, after, true);
}

/* ---- running ---- */

static void *to_onnx(LedgeGraph *g, size_t *size)
{
    LedgeError err = {0};
    OnnxOpset opsets[3] = {{.domain = {"", 0}, .version = g->opset},
                           {.domain = {"com.microsoft", 13}, .version = 1},
                           {.domain = {"ledge", 5}, .version = 1}};
    OnnxModel m = {
        .arena = ledge__arena_new(NULL), .ir_version = 8, .opsets = opsets, .n_opsets = 3};
    void *bytes;
    assert_non_null(m.arena);
    must(ledge__graph_export(g, &m, &err), &err);
    must(ledge__onnx_write_memory(&m, NULL, &bytes, size, &err), &err);
    ledge__arena_free(m.arena);
    return bytes;
}

void *onnx_from_text(const char *text, size_t *size)
{
    LedgeGraph *g = graph_from_text(text);
    void *bytes = to_onnx(g, size);
    ledge__graph_free(g);
    return bytes;
}

static void make_inputs(const LedgeGraph *g, LedgeTensor *in)
{
    uint32_t seed = 77;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        in[i] = g->inputs[i]->t;
        for (int32_t d = 0; d < in[i].rank; d++)
            in[i].dims[d] = in[i].dims[d] < 0 ? 2 : in[i].dims[d];
        in[i].bytes = ledge_tensor_bytes(&in[i]);
        in[i].data = ledge__calloc(NULL, in[i].bytes, 1);
        for (int64_t k = 0; k < ledge_tensor_count(&in[i]); k++) {
            double x = random_number(&seed);
            bool byte = in[i].type == LEDGE_INT8 || in[i].type == LEDGE_UINT8;
            put_number(&in[i], k, in[i].type == LEDGE_FLOAT ? 4 * x
                                  : byte                    ? spread(in[i].type, x)
                                                            : fabs(3 * x));
        }
    }
}

static void run(const void *bytes, size_t size, bool no_optimize, const LedgeTensor *in,
                size_t n_in, LedgeTensor *out, size_t n_out)
{
    LedgeModelOptions mo = {.no_optimize = no_optimize};
    LedgeSessionOptions so = {.threads = 1};
    LedgeError err = {0};
    LedgeModel *model;
    LedgeSession *session;
    LedgeTensor got[8] = {{0}};
    must(ledge_model_load_memory(bytes, size, &mo, &err, &model), &err);
    must(ledge_session_create(model, &so, &err, &session), &err);
    must(ledge_session_run(session, in, n_in, got, n_out, &err), &err);
    for (size_t i = 0; i < n_out; i++) {
        out[i] = got[i];
        size_t n = ledge_tensor_bytes(&got[i]);
        out[i].data = ledge__alloc(NULL, n, 1);
        memcpy(out[i].data, got[i].data, n);
    }
    ledge_session_free(session);
    ledge_model_free(model);
}

static double number(const LedgeTensor *t, int64_t i)
{
    LedgeValue v = {.t = *t};
    return ledge__value_as_double(&v, i);
}

/* within < 0: the normalised mean squared error must be at most 1e-10. */
static void assert_close(const LedgeTensor *want, const LedgeTensor *got, double within)
{
    double error = 0, power = 0, worst = 0;
    assert_int_equal(want->type, got->type);
    assert_int_equal(want->rank, got->rank);
    for (int32_t d = 0; d < want->rank; d++)
        assert_int_equal(want->dims[d], got->dims[d]);
    for (int64_t i = 0; i < ledge_tensor_count(want); i++) {
        double w = number(want, i), e = number(got, i) - w;
        assert_true(isfinite(w) && isfinite(e));
        error += e * e;
        power += w * w;
        worst = fmax(worst, fabs(e));
    }
    assert_true(power > 0); /* else nothing was compared */
    if (within >= 0 && worst > within)
        fail_msg("differs by %g", worst);
    if (within < 0 && error > 1e-10 * power)
        fail_msg("normalised error %g", error / power);
}

void assert_outputs_within(const char *text, double within)
{
    LedgeGraph *g = graph_from_text(text);
    LedgeTensor in[8], want[8], got[8];
    size_t size;
    void *bytes = to_onnx(g, &size);
    make_inputs(g, in);
    run(bytes, size, true, in, g->n_inputs, want, g->n_outputs);
    run(bytes, size, false, in, g->n_inputs, got, g->n_outputs);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        assert_close(&want[i], &got[i], within);
        ledge__free(NULL, want[i].data);
        ledge__free(NULL, got[i].data);
    }
    for (uint32_t i = 0; i < g->n_inputs; i++)
        ledge__free(NULL, in[i].data);
    ledge__free(NULL, bytes);
    ledge__graph_free(g);
}

void assert_outputs_agree(const char *text)
{
    assert_outputs_within(text, -1);
}
