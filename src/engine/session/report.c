/* Reports on model files, and the small changes that tools make to them. */
#include "engine/session/report_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cpu.h"
#include "engine/session/ledge_file.h"
#include "engine/session/session.h"

static const char *text(LedgeReportBox *box, LedgeStr s, bool *no_memory)
{
    const char *p = ledge__arena_strn(box->arena, s.n ? s.p : "", s.n);
    *no_memory |= p == NULL;
    return p;
}

/* What the file says of an input or output; used where the model cannot be loaded. */
static LedgeTensorInfo describe(LedgeReportBox *box, const OnnxValueInfo *v, bool *no_memory)
{
    LedgeTensorInfo info = {.name = text(box, v->name, no_memory), .rank = -1};
    const OnnxType *t = &v->type;
    if (t->kind == ONNX_TYPE_SEQUENCE)
        info.type = LEDGE_SEQUENCE;
    else if (t->kind == ONNX_TYPE_OPTIONAL)
        info.type = LEDGE_OPTIONAL;
    else
        info.type = (LedgeType)t->elem_type;
    if (t->kind != ONNX_TYPE_TENSOR || !t->has_shape || t->n_dims > LEDGE_MAX_RANK)
        return info;
    info.rank = (int32_t)t->n_dims;
    for (size_t i = 0; i < t->n_dims; i++) {
        info.dims[i] = t->dims[i].value;
        if (t->dims[i].param.n)
            info.dim_names[i] = text(box, t->dims[i].param, no_memory);
    }
    return info;
}

/* Names of all initializers, sorted; NULL: no memory. */
static LedgeStr *initializer_names(LedgeReportBox *box, const OnnxGraph *g)
{
    LedgeStr *names = ledge__arena_alloc(box->arena, g->n_initializers, sizeof *names);
    for (size_t i = 0; names && i < g->n_initializers; i++)
        names[i] = g->initializers[i].name;
    if (names && g->n_initializers)
        qsort(names, g->n_initializers, sizeof *names, ledge__report_compare_str);
    return names;
}

static LedgeStatus describe_ends(LedgeReportBox *box, const OnnxGraph *g, LedgeError *err)
{
    LedgeReport *r = &box->report;
    bool no_memory = false;
    r->inputs = ledge__arena_alloc(box->arena, g->n_inputs, sizeof *r->inputs);
    r->outputs = ledge__arena_alloc(box->arena, g->n_outputs, sizeof *r->outputs);
    const LedgeStr *names = initializer_names(box, g);
    if (!r->inputs || !r->outputs || !names)
        return ledge__no_memory(err);
    for (size_t i = 0; i < g->n_inputs; i++)
        if (!bsearch(&g->inputs[i].name, names, g->n_initializers, sizeof *names,
                     ledge__report_compare_str))
            r->inputs[r->n_inputs++] = describe(box, &g->inputs[i], &no_memory);
    for (size_t i = 0; i < g->n_outputs; i++)
        r->outputs[r->n_outputs++] = describe(box, &g->outputs[i], &no_memory);
    return no_memory ? ledge__no_memory(err) : LEDGE_OK;
}

static LedgeStatus describe_header(LedgeReportBox *box, const OnnxModel *m, LedgeError *err)
{
    LedgeReport *r = &box->report;
    bool no_memory = false;
    r->ir_version = m->ir_version;
    r->model_version = m->model_version;
    r->producer_name = text(box, m->producer_name, &no_memory);
    r->producer_version = text(box, m->producer_version, &no_memory);
    r->domain = text(box, m->domain, &no_memory);
    r->doc_string = text(box, m->doc_string, &no_memory);
    r->graph_name = text(box, m->graph.name, &no_memory);
    r->opsets = ledge__arena_alloc(box->arena, m->n_opsets, sizeof *r->opsets);
    r->metadata = ledge__arena_alloc(box->arena, m->n_metadata, sizeof *r->metadata);
    if (!r->opsets || !r->metadata)
        return ledge__no_memory(err);
    for (size_t i = 0; i < m->n_opsets; i++)
        r->opsets[r->n_opsets++] =
            (LedgeReportOpset){text(box, m->opsets[i].domain, &no_memory), m->opsets[i].version};
    for (size_t i = 0; i < m->n_metadata; i++)
        r->metadata[r->n_metadata++] = (LedgeReportPair){
            text(box, m->metadata[i].key, &no_memory), text(box, m->metadata[i].value, &no_memory)};
    return no_memory ? ledge__no_memory(err) : LEDGE_OK;
}

/* ---- what would run ---- */

/* Whether a node multiplies 8-bit integers and adds them up as integers. */
static bool is_integer(const LedgeNode *n)
{
    static const char *const list[] = {"QConv",
                                       "QGemm",
                                       "QInvertedBottleneck",
                                       "QLinearConv",
                                       "QLinearMatMul",
                                       "ConvInteger",
                                       "MatMulInteger",
                                       "MatMulIntegerToFloat",
                                       "DynamicQuantizeMatMul",
                                       NULL};
    for (size_t i = 0; list[i]; i++)
        if (strcmp(n->op_type, list[i]) == 0)
            return true;
    return false;
}

static LedgeReportStep step_of(const LedgeNode *n, int64_t macs)
{
    return (LedgeReportStep){.name = n->name,
                             .domain = n->domain,
                             .op_type = n->op_type,
                             .macs = macs < 0 ? 0 : macs,
                             .integer = is_integer(n),
                             .skips_zeros = ledge__node_attr(n, "kept_rows") != NULL};
}

static LedgeStatus describe_plan(LedgeReportBox *box, LedgeSession *s, LedgeError *err)
{
    LedgeReport *r = &box->report;
    LEDGE_TRY(ledge__session_plan_for(s, NULL, err));
    const LedgePlan *p = ledge__session_plan(s);
    const uint32_t n = ledge__plan_step_count(p);
    r->steps = ledge__arena_alloc(box->arena, n, sizeof *r->steps);
    if (!r->steps)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t ns;
        int64_t macs = 0;
        const LedgeNode *node = ledge__plan_step(p, i, &ns, &macs);
        r->steps[r->n_steps++] = step_of(node, macs);
        r->macs += macs > 0 ? macs : 0;
        r->integer_macs += macs > 0 && is_integer(node) ? macs : 0;
    }
    r->arena_bytes = ledge__plan_arena_bytes(p);
    return LEDGE_OK;
}

static LedgeStatus try_to_run(LedgeReportBox *box, LedgeError *err)
{
    LedgeReport *r = &box->report;
    LedgeSession *s = NULL;
    const LedgeSessionOptions o = {.threads = 1, .allocator = box->model->allocator};
    r->cpu = ledge__cpu_level_name(box->model->cpu);
    r->n_inputs = ledge_model_input_count(box->model);
    r->n_outputs = ledge_model_output_count(box->model);
    r->inputs = box->model->inputs;
    r->outputs = box->model->outputs;
    r->runnable = ledge_session_create(box->model, &o, &r->problem, &s);
    if (!r->runnable)
        r->runnable = describe_plan(box, s, &r->problem);
    ledge_session_free(s);
    return r->runnable == LEDGE_ERROR_MEMORY ? ledge__no_memory(err) : LEDGE_OK;
}

static LedgeStatus fill(LedgeReportBox *box, const char *path, const LedgeModelOptions *o,
                        LedgeError *err)
{
    LedgeReport *r = &box->report;
    struct stat st;
    if (stat(path, &st) != 0)
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot open: %s", strerror(errno));
    r->file_bytes = (uint64_t)st.st_size;
    r->runnable = ledge_model_load(path, o, &r->problem, &box->model);
    if (r->runnable == LEDGE_ERROR_MEMORY)
        return ledge__no_memory(err);
    const LedgeStatus s =
        r->runnable ? ledge__onnx_read_file(o->allocator, path, err, &box->onnx) : LEDGE_OK;
    if (s && s != LEDGE_ERROR_MEMORY && err)
        *err = r->problem; /* it may be compiled, which reading as ONNX knows less of */
    if (s)
        return s == LEDGE_ERROR_MEMORY ? s : r->runnable;
    const OnnxModel *m = box->model ? box->model->onnx : box->onnx;
    r->compiled = box->model && box->model->file;
    LEDGE_TRY(describe_header(box, m, err));
    LEDGE_TRY(ledge__report_count(box, m, err));
    LEDGE_TRY(describe_ends(box, &m->graph, err));
    return box->model ? try_to_run(box, err) : LEDGE_OK;
}

LedgeStatus ledge_report_create(const char *path, const LedgeModelOptions *options,
                                LedgeError *error, LedgeReport **out)
{
    if (!path || !out)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "path and out must be given");
    const LedgeModelOptions o = options ? *options : (LedgeModelOptions){0};
    LedgeArena *arena = ledge__arena_new(o.allocator);
    LedgeReportBox *box = arena ? ledge__arena_alloc(arena, 1, sizeof *box) : NULL;
    if (!box) {
        ledge__arena_free(arena);
        return ledge__no_memory(error);
    }
    box->arena = arena;
    const LedgeStatus status = fill(box, path, &o, error);
    if (status) {
        ledge_report_free(&box->report);
        return status;
    }
    *out = &box->report;
    return LEDGE_OK;
}

void ledge_report_free(LedgeReport *report)
{
    LedgeReportBox *box = (LedgeReportBox *)report;
    if (!box)
        return;
    ledge_model_free(box->model);
    ledge__onnx_free(box->onnx);
    ledge__arena_free(box->arena);
}

LedgeStatus ledge_model_graph_text(const LedgeModel *model, char **out)
{
    char *own = ledge__graph_text(model->graph, model->allocator);
    char *copy = own ? strdup(own) : NULL;
    ledge__free(model->allocator, own);
    if (!copy)
        return LEDGE_ERROR_MEMORY;
    *out = copy;
    return LEDGE_OK;
}

/* ---- metadata ---- */

LedgeStatus ledge_file_set_metadata(const char *path, const char *out_path, const char *key,
                                    const char *value, LedgeError *error)
{
    OnnxModel *m = NULL;
    if (!path || !out_path || !key)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL,
                           "path, out_path and key must be given");
    LEDGE_TRY(ledge__onnx_read_file(NULL, path, error, &m));
    LedgeStatus status = ledge__onnx_set_metadata(m, key, value, error);
    if (!status)
        status = ledge__onnx_write_file(m, out_path, true, error);
    ledge__onnx_free(m);
    return status;
}

/* ---- steps ---- */

void ledge_session_set_timing(LedgeSession *session, bool on)
{
    LedgePlan *p = ledge__session_plan(session);
    if (p)
        ledge__plan_set_timing(p, on);
}

size_t ledge_session_step_count(const LedgeSession *session)
{
    const LedgePlan *p = ledge__session_plan((LedgeSession *)(uintptr_t)session);
    return p ? ledge__plan_step_count(p) : 0;
}

uint64_t ledge_session_step(const LedgeSession *session, size_t index, LedgeReportStep *out)
{
    const LedgePlan *p = ledge__session_plan((LedgeSession *)(uintptr_t)session);
    uint64_t ns = 0;
    int64_t macs = 0;
    const LedgeNode *node = ledge__plan_step(p, (uint32_t)index, &ns, &macs);
    *out = step_of(node, macs);
    return ns;
}
