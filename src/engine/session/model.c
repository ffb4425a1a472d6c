/* Loading a model: read, build, bind, infer, optimise. */
#include "engine/session/model.h"

#include "base/cpu.h"
#include "engine/onnx/onnx_map.h"
#include "engine/optimize/optimize.h"
#include "engine/session/ledge_file.h"
#include "engine/session/pixels.h"

#include <fcntl.h>
#include <unistd.h>

const char *ledge_version(void)
{
    return LEDGE_BUILD_VERSION;
}

static void free_model(LedgeModel *m)
{
    ledge__weights_free(m->weights);
    if (m->native != m->graph)
        ledge__graph_free(m->native);
    ledge__graph_free(m->graph);
    ledge__lock_end(&m->lock);
    ledge__onnx_free(m->onnx);
    ledge__file_free(m->file);
    ledge__onnx_unmap_all(m->file_mapping);
    ledge__arena_free(m->file_arena);
    ledge__free(m->allocator, m);
}

void ledge__model_retain(LedgeModel *m)
{
    __atomic_add_fetch(&m->references, 1, __ATOMIC_RELAXED);
}

void ledge_model_free(LedgeModel *model)
{
    if (model && __atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) == 0)
        free_model(model);
}

static void describe(const LedgeValue *v, LedgeTensorInfo *info)
{
    info->name = v->name;
    info->type = v->t.type;
    info->rank = v->t.rank;
    for (int32_t d = 0; d < v->t.rank && d < LEDGE_MAX_RANK; d++) {
        info->dims[d] = v->t.dims[d];
        info->dim_names[d] = v->dim_names ? v->dim_names[d] : NULL;
    }
}

static LedgeStatus describe_all(LedgeModel *m, LedgeError *err)
{
    LedgeGraph *g = m->graph;
    m->inputs = ledge__arena_alloc(g->arena, g->n_inputs, sizeof *m->inputs);
    m->outputs = ledge__arena_alloc(g->arena, g->n_outputs, sizeof *m->outputs);
    m->metadata = ledge__arena_alloc(g->arena, 2 * m->onnx->n_metadata, sizeof *m->metadata);
    if (!m->inputs || !m->outputs || !m->metadata)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        describe(g->inputs[i], &m->inputs[i]);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        describe(g->outputs[i], &m->outputs[i]);
    for (size_t i = 0; i < m->onnx->n_metadata; i++) {
        const OnnxEntry *e = &m->onnx->metadata[i];
        m->metadata[2 * i] = ledge__arena_strn(g->arena, e->key.p, e->key.n);
        m->metadata[2 * i + 1] = ledge__arena_strn(g->arena, e->value.p, e->value.n);
        if (!m->metadata[2 * i] || !m->metadata[2 * i + 1])
            return ledge__no_memory(err);
    }
    m->n_metadata = m->onnx->n_metadata;
    return LEDGE_OK;
}

/* o NULL: no pixels. */
static LedgeStatus make_native(LedgeModel *m, const LedgeModelOptions *o, LedgeGraph **g,
                               LedgeError *err)
{
    const bool pixels = o && o->pixels, optimize = !m->no_optimize && !m->file;
    const LedgeOptOptions opt = {.cpu = m->cpu, .fold_limit = LEDGE_LOAD_FOLD_LIMIT};
    LEDGE_TRY(ledge__graph_build(m->allocator, m->onnx, err, g));
    LEDGE_TRY(ledge__ops_bind(*g, err));
    if (m->file) /* optimised already; its packed weights stand in for the raw ones */
        LEDGE_TRY(ledge__file_adopt(m->file, *g, m->weights, err));
    if (pixels) {
        LEDGE_TRY(describe_all(m, err));
        LEDGE_TRY(ledge__model_pixels(m, o, err));
    }
    (*g)->keeps_dequantize = optimize;
    LEDGE_TRY(ledge__graph_infer(*g, m->file ? 0 : LEDGE_LOAD_FOLD_LIMIT, err));
    if (pixels && m->file) {
        bool changed = false;
        LEDGE_TRY(ledge__opt_run_pass(*g, &opt, "pixels", &changed, err));
    }
    return optimize ? ledge__graph_optimize(*g, &opt, err) : LEDGE_OK;
}

/* As the file has it, with room for operators that only a provider knows. */
static LedgeStatus make_plain(LedgeModel *m, LedgeError *err)
{
    LEDGE_TRY(ledge__graph_build(m->allocator, m->onnx, err, &m->graph));
    LEDGE_TRY(ledge__ops_bind(m->graph, NULL));
    return ledge__graph_infer(m->graph, 0, err);
}

static LedgeStatus prepare_graph(LedgeModel *m, const LedgeModelOptions *o, LedgeError *err)
{
    m->weights = ledge__weights_new(m->allocator);
    if (!m->weights)
        return ledge__no_memory(err);
    if (o->for_providers && !m->file) {
        if (o->pixels)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                               "pixels are taken by models without providers only");
        LEDGE_TRY(make_plain(m, err));
    } else {
        LedgeStatus status = make_native(m, o, &m->graph, err);
        m->native = m->graph;
        LEDGE_TRY(status);
    }
    return describe_all(m, err);
}

LedgeStatus ledge__model_native(LedgeModel *m, LedgeError *err, LedgeGraph **out)
{
    LedgeStatus status = LEDGE_OK;
    ledge__lock_take(&m->lock);
    if (!m->native) {
        LedgeGraph *g = NULL;
        status = make_native(m, NULL, &g, err);
        if (status == LEDGE_OK)
            m->native = g;
        else
            ledge__graph_free(g);
    }
    *out = m->native;
    ledge__lock_give(&m->lock);
    return status;
}

/* A compiled model is told from ONNX by its first bytes; what cannot be read is left to the ONNX
 * reader to report. */
static bool path_is_compiled(const char *path)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, magic, sizeof magic, 0);
    close(fd);
    return n == (ssize_t)sizeof magic && ledge__file_is_compiled(magic, sizeof magic);
}

static LedgeStatus open_compiled(LedgeModel *m, const char *path, const void *bytes, size_t size,
                                 LedgeError *err)
{
    if (path) {
        m->file_arena = ledge__arena_new(m->allocator);
        if (!m->file_arena)
            return ledge__no_memory(err);
        LEDGE_TRY(ledge__onnx_map(m->file_arena, path, &m->file_mapping, err));
        bytes = m->file_mapping->bytes;
        size = m->file_mapping->size;
    }
    LEDGE_TRY(ledge__file_open(m->allocator, bytes, size, err, &m->file, &m->onnx));
    m->cpu = ledge__file_cpu(m->file);
    return LEDGE_OK;
}

static LedgeStatus open_any(LedgeModel *m, const char *path, const void *bytes, size_t size,
                            LedgeError *err)
{
    if (path ? path_is_compiled(path) : ledge__file_is_compiled(bytes, size))
        return open_compiled(m, path, bytes, size, err);
    return path ? ledge__onnx_read_file(m->allocator, path, err, &m->onnx)
                : ledge__onnx_read_memory(m->allocator, bytes, size, err, &m->onnx);
}

static LedgeStatus choose_cpu(LedgeModel *m, const LedgeModelOptions *o, LedgeError *err)
{
    m->cpu = o->no_optimize ? 0 : ledge__cpu_flags();
    if (m->cpu & LEDGE_CPU_AVX512VNNI) /* not used beside it; a compiled model need not ask for it */
        m->cpu &= ~(uint32_t)LEDGE_CPU_AVXVNNI;
    if (!o->cpu)
        return LEDGE_OK;
    m->cpu = ledge__cpu_flags_from_name(o->cpu);
    if (m->cpu == UINT32_MAX)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, o->cpu,
                           "not a CPU level; known are scalar, sse41, avx2, avxvnni, avx512, "
                           "avx512vnni, neon, dotprod, i8mm");
    return LEDGE_OK;
}

static LedgeStatus load(const char *path, const void *bytes, size_t size,
                        const LedgeModelOptions *options, LedgeError *err, LedgeModel **out)
{
    LedgeModelOptions o = options ? *options : (LedgeModelOptions){0};
    LedgeModel *m = ledge__calloc(o.allocator, 1, sizeof *m);
    if (!m)
        return ledge__no_memory(err);
    m->allocator = o.allocator;
    m->references = 1;
    m->no_optimize = o.no_optimize;
    if (!ledge__lock_init(&m->lock)) {
        ledge__free(o.allocator, m);
        return ledge__no_memory(err);
    }
    LedgeStatus s = choose_cpu(m, &o, err);
    if (s == LEDGE_OK)
        s = open_any(m, path, bytes, size, err);
    if (s == LEDGE_OK)
        s = ledge__onnx_check_versions(m->onnx, err);
    if (s == LEDGE_OK)
        s = prepare_graph(m, &o, err);
    if (m->file && ledge__file_verified(m->file, err) != LEDGE_OK)
        s = LEDGE_ERROR_FORMAT; /* also the cause of what else went wrong */
    if (s != LEDGE_OK) {
        free_model(m);
        return s;
    }
    *out = m;
    return LEDGE_OK;
}

LedgeStatus ledge_model_load(const char *path, const LedgeModelOptions *options, LedgeError *error,
                             LedgeModel **out)
{
    if (!path || !out)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "path and out must be given");
    return load(path, NULL, 0, options, error, out);
}

LedgeStatus ledge_model_load_memory(const void *bytes, size_t size,
                                    const LedgeModelOptions *options, LedgeError *error,
                                    LedgeModel **out)
{
    if (!bytes || !out)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "bytes and out must be given");
    return load(NULL, bytes, size, options, error, out);
}

size_t ledge_model_input_count(const LedgeModel *model)
{
    return model->graph->n_inputs;
}

size_t ledge_model_output_count(const LedgeModel *model)
{
    return model->graph->n_outputs;
}

const LedgeTensorInfo *ledge_model_input(const LedgeModel *model, size_t index)
{
    return &model->inputs[index];
}

const LedgeTensorInfo *ledge_model_output(const LedgeModel *model, size_t index)
{
    return &model->outputs[index];
}

const char *ledge_model_metadata(const LedgeModel *model, const char *key)
{
    for (size_t i = 0; i < model->n_metadata; i++)
        if (strcmp(model->metadata[2 * i], key) == 0)
            return model->metadata[2 * i + 1];
    return NULL;
}
