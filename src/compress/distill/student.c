/* Students as files: reading one for training, writing what was trained. */
#include "compress/distill/student.h"

#include <string.h>

#include "engine/optimize/optimize.h"

#define FOLD_LIMIT ((size_t)32 << 20)

void ledge__student_free(LedgeStudent *s)
{
    ledge__graph_free(s->graph);
    ledge__onnx_free(s->file);
    ledge__arena_free(s->arena);
    *s = (LedgeStudent){0};
}

/* Only rewrites that leave what training works on: no folding of BatchNormalization. */
static LedgeStatus tidy(LedgeGraph *g, LedgeError *err)
{
    static const char *const passes[] = {"dead_code", "noop", "static_reshape", "reshape_chain",
                                         "dead_code"};
    const LedgeOptOptions o = {.portable = true, .fold_limit = FOLD_LIMIT};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        bool changed = false;
        LEDGE_TRY(ledge__opt_run_pass(g, &o, passes[i], &changed, err));
        if (changed)
            LEDGE_TRY(ledge__graph_infer(g, FOLD_LIMIT, err));
    }
    return LEDGE_OK;
}

static LedgeStatus read_all(LedgeStudent *s, const char *path, LedgeError *err)
{
    s->arena = ledge__arena_new(s->allocator);
    if (!s->arena)
        return ledge__no_memory(err);
    LEDGE_TRY(ledge__onnx_read_file(s->allocator, path, err, &s->file));
    LEDGE_TRY(ledge__onnx_check_versions(s->file, err));
    LEDGE_TRY(ledge__graph_build(s->allocator, s->file, err, &s->graph));
    LEDGE_TRY(ledge__ops_bind(s->graph, err));
    LEDGE_TRY(ledge__graph_infer(s->graph, FOLD_LIMIT, err));
    s->head = *s->file;
    s->head.arena = s->arena;
    return tidy(s->graph, err);
}

LedgeStatus ledge__student_read(const LedgeAllocator *a, const char *path, LedgeError *err,
                                LedgeStudent *out)
{
    LedgeStudent s = {.allocator = ledge__allocator_or_default(a)};
    const LedgeStatus status = read_all(&s, path, err);
    if (status)
        ledge__student_free(&s);
    else
        *out = s;
    return status;
}

/* ---- writing ---- */

static LedgeStr str(const char *s)
{
    return (LedgeStr){s, strlen(s)};
}

static LedgeStatus export(const LedgeStudent *s, LedgeError *err, OnnxModel *m)
{
    *m = s->head;
    return ledge__graph_export(s->graph, m, err);
}

LedgeStatus ledge__student_bytes(LedgeStudent *s, LedgeError *err, void **bytes, size_t *size)
{
    OnnxModel m;
    LEDGE_TRY(export(s, err, &m));
    return ledge__onnx_write_memory(&m, s->allocator, bytes, size, err);
}

LedgeStatus ledge__student_save(LedgeStudent *s, const char *path, LedgeError *err)
{
    OnnxModel m;
    LEDGE_TRY(export(s, err, &m));
    return ledge__onnx_write_file(&m, path, false, err);
}

/* ---- more outputs ---- */

static bool makes(const OnnxGraph *g, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i].n_outputs; k++)
            if (ledge__str_eq(g->nodes[i].outputs[k], name))
                return true;
    return false;
}

static LedgeStatus add_outputs(OnnxModel *m, const char *const *names, size_t n, LedgeError *err)
{
    OnnxGraph *g = &m->graph;
    OnnxValueInfo *all = ledge__arena_alloc(m->arena, g->n_outputs + n + 1, sizeof *all);
    if (!all)
        return ledge__no_memory(err);
    if (g->n_outputs)
        memcpy(all, g->outputs, g->n_outputs * sizeof *all);
    g->outputs = all;
    for (size_t i = 0; i < n; i++) {
        bool there = false;
        for (size_t k = 0; k < g->n_outputs; k++)
            there |= ledge__str_eq(all[k].name, names[i]);
        if (there)
            continue;
        if (!makes(g, names[i]))
            return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, names[i],
                               "the model computes no tensor of this name; 'ledge inspect "
                               "--graph' lists them");
        OnnxValueInfo *v = &all[g->n_outputs++];
        v->name = str(names[i]);
        v->type.kind = ONNX_TYPE_TENSOR;
        v->type.elem_type = LEDGE_FLOAT;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__with_outputs(const LedgeAllocator *a, const char *path, const char *const *names,
                                size_t n, LedgeError *err, void **bytes, size_t *size)
{
    OnnxModel *m = NULL;
    a = ledge__allocator_or_default(a);
    LEDGE_TRY(ledge__onnx_read_file(a, path, err, &m));
    LedgeStatus s = add_outputs(m, names, n, err);
    if (!s)
        s = ledge__onnx_write_memory(m, a, bytes, size, err);
    ledge__onnx_free(m);
    return s;
}
