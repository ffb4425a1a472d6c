/* Making and running sessions of ONNX Runtime, see ort_session.h. */
#include "engine/provider/ort_placed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

struct OrtProgram {
    const LedgeAllocator *allocator;
    const OrtLibrary *o;
    const KnownProvider *known;
    OrtSession *session;
    OrtMemoryInfo *memory;
    size_t n_in, n_out;
    char **in_names, **out_names; /* ONNX Runtime's own copies */
    OrtAllocator *names_allocator;
    OrtValue **in, **out;
    LedgeTensor *seen; /* what in[i] was made over, to make it anew only when that changes */
    bool profiling;    /* until the first run */
    OrtPlacedList placed;
    const char *placed_by;
};

static LedgeStatus check(const OrtProgram *p, OrtStatus *s, LedgeStatus as, const char *during,
                         LedgeError *err)
{
    return ledge__ort_check(p->o, s, as, during, err);
}

/* ---- options ---- */

static const char *setting(const OrtSetup *setup, const char *key, const char *absent)
{
    for (size_t i = 0; i < setup->n_settings; i++)
        if (strcmp(setup->settings[i].key, key) == 0)
            return setup->settings[i].value;
    return absent;
}

static int level_number(const char *text)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"disable", 0}, {"basic", 1}, {"extended", 2}, {"layout", 3}, {"all", 99}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(text, levels[i].name) == 0)
            return levels[i].level;
    return 99;
}

static bool is_session_option(const char *key)
{
    for (size_t i = 0; i < ledge__ort_session_option_count; i++)
        if (strcmp(ledge__ort_session_options[i].name, key) == 0)
            return true;
    return strchr(key, '.') != NULL; /* session.… and the like */
}

static LedgeStatus set_session_options(OrtProgram *p, const OrtSetup *setup, OrtSessionOptions *so,
                                       LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    static const char during[] = "session options";
    const int level = level_number(setting(setup, "graph_optimization_level", "all"));
    const int inter = atoi(setting(setup, "inter_op_num_threads", "1"));
    LEDGE_TRY(
        check(p, c->SetIntraOpNumThreads(so, setup->threads), LEDGE_ERROR_PROVIDER, during, err));
    LEDGE_TRY(check(p, c->SetInterOpNumThreads(so, inter), LEDGE_ERROR_PROVIDER, during, err));
    LEDGE_TRY(check(p, c->SetGraphOptimizationLevel(so, level), LEDGE_ERROR_PROVIDER, during, err));
    if (*setting(setup, "enable_cpu_mem_arena", "1") == '0')
        LEDGE_TRY(check(p, c->DisableCpuMemArena(so), LEDGE_ERROR_PROVIDER, during, err));
    if (*setting(setup, "enable_mem_pattern", "1") == '0')
        LEDGE_TRY(check(p, c->DisableMemPattern(so), LEDGE_ERROR_PROVIDER, during, err));
    LEDGE_TRY(check(p,
                    c->AddSessionConfigEntry(so, "session.intra_op.allow_spinning",
                                             setting(setup, "allow_spinning", "1")),
                    LEDGE_ERROR_PROVIDER, during, err));
    for (size_t i = 0; i < setup->n_settings; i++)
        if (strchr(setup->settings[i].key, '.'))
            LEDGE_TRY(check(
                p, c->AddSessionConfigEntry(so, setup->settings[i].key, setup->settings[i].value),
                LEDGE_ERROR_PROVIDER, during, err));
    return LEDGE_OK;
}

/* How the placement will be known: the record where the library has it; for the CPU provider alone
 * nothing need be asked; else the profile of the first run. */
static LedgeStatus ask_for_placement(OrtProgram *p, const OrtSetup *setup, OrtSessionOptions *so,
                                     LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    if (c->GetAssignment)
        return check(p,
                     c->AddSessionConfigEntry(so, "session.record_ep_graph_assignment_info", "1"),
                     LEDGE_ERROR_PROVIDER, "session options", err);
    if (setup->known->append == ORT_APPEND_NONE)
        return LEDGE_OK;
    if (setup->strict) /* older libraries can at least refuse */
        return check(p, c->AddSessionConfigEntry(so, "session.disable_cpu_ep_fallback", "1"),
                     LEDGE_ERROR_PROVIDER, "session options", err);
    char prefix[300];
    const char *folder = getenv("TMPDIR");
    snprintf(prefix, sizeof prefix, "%s/ledge-%ld-%p", folder && *folder ? folder : "/tmp",
             (long)getpid(), (void *)p);
    p->profiling = true;
    return check(p, c->EnableProfiling(so, prefix), LEDGE_ERROR_PROVIDER, "session options", err);
}

static LedgeStatus append_provider(OrtProgram *p, const OrtSetup *setup, OrtSessionOptions *so,
                                   LedgeError *err)
{
    const char **keys = ledge__calloc(p->allocator, 2 * (setup->n_settings + 2), sizeof *keys);
    if (!keys)
        return ledge__no_memory(err);
    const char **values = keys + setup->n_settings + 2;
    char threads[16];
    size_t n = 0;
    for (size_t i = 0; i < setup->n_settings; i++)
        if (!is_session_option(setup->settings[i].key)) {
            keys[n] = setup->settings[i].key;
            values[n++] = setup->settings[i].value;
        }
    if (strcmp(setup->known->name, "xnnpack") == 0 && n == 0) { /* it has a pool of its own */
        snprintf(threads, sizeof threads, "%d", setup->threads);
        keys[n] = "intra_op_num_threads";
        values[n++] = threads;
    }
    LedgeStatus status = ledge__ort_append(p->o, so, setup->known, keys, values, n, err);
    /* What TensorRT leaves over is CUDA's, as ONNX Runtime advises; where that fails, the CPU's. */
    if (status == LEDGE_OK && setup->known->append == ORT_APPEND_TENSORRT)
        (void)ledge__ort_append(p->o, so, ledge__known_find("cuda"), NULL, NULL, 0, NULL);
    ledge__free(p->allocator, keys);
    return status;
}

static LedgeStatus create_session(OrtProgram *p, const OrtSetup *setup, OrtSessionOptions *so,
                                  LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    LEDGE_TRY(set_session_options(p, setup, so, err));
    LEDGE_TRY(append_provider(p, setup, so, err));
    LEDGE_TRY(ask_for_placement(p, setup, so, err));
    OrtStatus *s = setup->model_path
                       ? c->CreateSession(p->o->env, setup->model_path, so, &p->session)
                       : c->CreateSessionFromArray(p->o->env, setup->model, setup->model_size, so,
                                                   &p->session);
    return check(p, s, LEDGE_ERROR_PROVIDER, "ONNX Runtime refuses the model", err);
}

/* ---- inputs and outputs ---- */

static LedgeStatus take_names(OrtProgram *p, LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    static const char during[] = "inputs and outputs";
    LEDGE_TRY(check(p, c->GetAllocator(&p->names_allocator), LEDGE_ERROR_PROVIDER, during, err));
    for (size_t i = 0; i < p->n_in; i++)
        LEDGE_TRY(check(p,
                        c->SessionGetInputName(p->session, i, p->names_allocator, &p->in_names[i]),
                        LEDGE_ERROR_PROVIDER, during, err));
    for (size_t i = 0; i < p->n_out; i++)
        LEDGE_TRY(
            check(p, c->SessionGetOutputName(p->session, i, p->names_allocator, &p->out_names[i]),
                  LEDGE_ERROR_PROVIDER, during, err));
    return LEDGE_OK;
}

/* ledge's i-th is ONNX Runtime's i-th: both follow the file, and neither counts initializers. */
static LedgeStatus check_ends(const OrtProgram *p, const OrtSetup *setup, LedgeError *err)
{
    for (size_t i = 0; i < p->n_in + p->n_out; i++) {
        const bool in = i < p->n_in;
        const char *theirs = in ? p->in_names[i] : p->out_names[i - p->n_in];
        const char *ours = in ? setup->input_names[i] : setup->output_names[i - p->n_in];
        if (strcmp(theirs, ours) != 0)
            return ledge__fail(err, LEDGE_ERROR_PROVIDER, ours,
                               "ONNX Runtime has '%s' in the place of this input or output",
                               theirs);
    }
    return LEDGE_OK;
}

static LedgeStatus take_ends(OrtProgram *p, const OrtSetup *setup, LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    size_t n_in = 0, n_out = 0;
    static const char during[] = "inputs and outputs";
    LEDGE_TRY(
        check(p, c->SessionGetInputCount(p->session, &n_in), LEDGE_ERROR_PROVIDER, during, err));
    LEDGE_TRY(
        check(p, c->SessionGetOutputCount(p->session, &n_out), LEDGE_ERROR_PROVIDER, during, err));
    if (n_in != setup->n_inputs || n_out != setup->n_outputs)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, NULL,
                           "ONNX Runtime sees %zu inputs and %zu outputs, ledge %zu and %zu", n_in,
                           n_out, setup->n_inputs, setup->n_outputs);
    p->in_names = ledge__calloc(p->allocator, n_in + 1, sizeof *p->in_names);
    p->out_names = ledge__calloc(p->allocator, n_out + 1, sizeof *p->out_names);
    p->in = ledge__calloc(p->allocator, n_in + 1, sizeof *p->in);
    p->out = ledge__calloc(p->allocator, n_out + 1, sizeof *p->out);
    p->seen = ledge__calloc(p->allocator, n_in + 1, sizeof *p->seen);
    if (!p->in_names || !p->out_names || !p->in || !p->out || !p->seen)
        return ledge__no_memory(err);
    p->n_in = n_in;
    p->n_out = n_out;
    LEDGE_TRY(take_names(p, err));
    LEDGE_TRY(check_ends(p, setup, err));
    return check(p, c->CreateCpuMemoryInfo(1 /* arena */, 0, &p->memory), LEDGE_ERROR_PROVIDER,
                 during, err);
}

static LedgeStatus take_record(OrtProgram *p, LedgeError *err)
{
    if (!p->o->c.GetAssignment)
        return LEDGE_OK;
    LEDGE_TRY(ledge__ort_placed_by_record(p->o, p->session, &p->placed, err));
    p->placed_by = "ONNX Runtime's assignment record";
    return LEDGE_OK;
}

LedgeStatus ledge__ort_program_new(const OrtSetup *setup, LedgeError *err, OrtProgram **out)
{
    OrtProgram *p = ledge__calloc(setup->allocator, 1, sizeof *p);
    OrtSessionOptions *so = NULL;
    if (!p)
        return ledge__no_memory(err);
    p->allocator = setup->allocator;
    p->o = setup->library;
    p->known = setup->known;
    p->placed.arena = ledge__arena_new(setup->allocator);
    LedgeStatus status = p->placed.arena ? LEDGE_OK : ledge__no_memory(err);
    if (status == LEDGE_OK)
        status = check(p, p->o->c.CreateSessionOptions(&so), LEDGE_ERROR_PROVIDER,
                       "session options", err);
    if (status == LEDGE_OK)
        status = create_session(p, setup, so, err);
    if (status == LEDGE_OK)
        status = take_ends(p, setup, err);
    if (status == LEDGE_OK)
        status = take_record(p, err);
    if (so)
        p->o->c.ReleaseSessionOptions(so);
    if (status != LEDGE_OK) {
        ledge__ort_program_free(p);
        return status;
    }
    *out = p;
    return LEDGE_OK;
}

/* ---- running ---- */

static void release_values(const OrtProgram *p, OrtValue **values, size_t n)
{
    for (size_t i = 0; values && i < n; i++) {
        if (values[i])
            p->o->c.ReleaseValue(values[i]);
        values[i] = NULL;
    }
}

static bool same_tensor(const LedgeTensor *a, const LedgeTensor *b)
{
    return a->data == b->data && a->type == b->type && a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0);
}

static LedgeStatus bind_inputs(OrtProgram *p, const LedgeTensor *inputs, LedgeError *err)
{
    for (size_t i = 0; i < p->n_in; i++) {
        const LedgeTensor *t = &inputs[i];
        if (p->in[i] && same_tensor(&p->seen[i], t))
            continue;
        release_values(p, &p->in[i], 1);
        LEDGE_TRY(
            check(p,
                  p->o->c.CreateTensorWithData(p->memory, t->data, ledge_tensor_bytes(t), t->dims,
                                               (size_t)t->rank, (int)t->type, &p->in[i]),
                  LEDGE_ERROR_PROVIDER, p->in_names[i], err));
        p->seen[i] = *t;
    }
    return LEDGE_OK;
}

static LedgeStatus describe(OrtProgram *p, size_t i, LedgeTensor *to, LedgeError *err)
{
    const OrtCalls *c = &p->o->c;
    OrtShapeInfo *info = NULL;
    int is_tensor = 0, type = 0;
    size_t rank = 0;
    LedgeTensor t = {0};
    LEDGE_TRY(
        check(p, c->IsTensor(p->out[i], &is_tensor), LEDGE_ERROR_RUNTIME, p->out_names[i], err));
    if (!is_tensor)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, p->out_names[i],
                           "this output is no tensor; only tensors come back from ONNX Runtime");
    LEDGE_TRY(check(p, c->GetTensorTypeAndShape(p->out[i], &info), LEDGE_ERROR_RUNTIME,
                    p->out_names[i], err));
    LedgeStatus s =
        check(p, c->GetTensorElementType(info, &type), LEDGE_ERROR_RUNTIME, p->out_names[i], err);
    if (s == LEDGE_OK)
        s = check(p, c->GetDimensionsCount(info, &rank), LEDGE_ERROR_RUNTIME, p->out_names[i], err);
    if (s == LEDGE_OK && rank > LEDGE_MAX_RANK)
        s = ledge__fail(err, LEDGE_ERROR_LIMIT, p->out_names[i], "%zu dimensions; %d are the most",
                        rank, LEDGE_MAX_RANK);
    if (s == LEDGE_OK)
        s = check(p, c->GetDimensions(info, t.dims, rank), LEDGE_ERROR_RUNTIME, p->out_names[i],
                  err);
    c->ReleaseShapeInfo(info);
    LEDGE_TRY(s);
    t.type = (LedgeType)type;
    t.rank = (int32_t)rank;
    t.bytes = ledge_tensor_bytes(&t);
    if (t.bytes == SIZE_MAX)
        return ledge__fail(err, LEDGE_ERROR_TYPE, p->out_names[i],
                           "ledge does not know this output's element type %d", type);
    LEDGE_TRY(check(p, c->GetTensorMutableData(p->out[i], &t.data), LEDGE_ERROR_RUNTIME,
                    p->out_names[i], err));
    *to = t;
    return LEDGE_OK;
}

/* The profile of the first run, read and thrown away. */
static LedgeStatus take_profile(OrtProgram *p, LedgeError *err)
{
    char *path = NULL, *text = NULL;
    size_t size = 0;
    p->profiling = false;
    LEDGE_TRY(check(p, p->o->c.SessionEndProfiling(p->session, p->names_allocator, &path),
                    LEDGE_ERROR_PROVIDER, "the profile", err));
    FILE *f = fopen(path, "rb");
    const long end = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    LedgeStatus status = LEDGE_OK;
    if (end > 0 && fseek(f, 0, SEEK_SET) == 0)
        text = ledge__alloc(p->allocator, (size_t)end, 1);
    if (text)
        size = fread(text, 1, (size_t)end, f);
    if (f)
        fclose(f);
    unlink(path);
    if (text)
        status = ledge__ort_placed_by_profile(text, size, &p->placed, err);
    ledge__free(p->allocator, text);
    p->placed_by = p->placed.n ? "ONNX Runtime's profile" : NULL;
    OrtStatus *s = p->o->c.AllocatorFree(p->names_allocator, path);
    return status ? status : check(p, s, LEDGE_ERROR_PROVIDER, "the profile", err);
}

LedgeStatus ledge__ort_program_run(OrtProgram *p, const LedgeTensor *inputs, LedgeTensor *outputs,
                                   LedgeError *err)
{
    LEDGE_TRY(bind_inputs(p, inputs, err));
    release_values(p, p->out, p->n_out);
    LEDGE_TRY(check(p,
                    p->o->c.Run(p->session, NULL, (const char *const *)p->in_names,
                                (const OrtValue *const *)p->in, p->n_in,
                                (const char *const *)p->out_names, p->n_out, p->out),
                    LEDGE_ERROR_RUNTIME, "ONNX Runtime", err));
    for (size_t i = 0; i < p->n_out; i++)
        LEDGE_TRY(describe(p, i, &outputs[i], err));
    return p->profiling ? take_profile(p, err) : LEDGE_OK;
}

const OrtPlaced *ledge__ort_program_placed(const OrtProgram *p, size_t *n, const char **source)
{
    *n = p->placed.n;
    *source = p->placed_by;
    return p->placed.items;
}

static void free_names(OrtProgram *p, char **names, size_t n)
{
    for (size_t i = 0; names && i < n; i++) {
        OrtStatus *s = names[i] ? p->o->c.AllocatorFree(p->names_allocator, names[i]) : NULL;
        if (s)
            p->o->c.ReleaseStatus(s);
    }
    ledge__free(p->allocator, names);
}

void ledge__ort_program_free(OrtProgram *p)
{
    if (!p)
        return;
    if (p->profiling && p->session && p->names_allocator)
        (void)take_profile(p, NULL); /* removes its file */
    release_values(p, p->in, p->n_in);
    release_values(p, p->out, p->n_out);
    free_names(p, p->in_names, p->n_in);
    free_names(p, p->out_names, p->n_out);
    if (p->memory)
        p->o->c.ReleaseMemoryInfo(p->memory);
    if (p->session)
        p->o->c.ReleaseSession(p->session);
    ledge__free(p->allocator, p->in);
    ledge__free(p->allocator, p->out);
    ledge__free(p->allocator, p->seen);
    ledge__arena_free(p->placed.arena);
    ledge__free(p->allocator, p);
}
