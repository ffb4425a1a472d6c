/* Modules and instances: mapping verified code, joining imports to functions, and calls. */
#include "wasm/runner/guest_state.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "image/file_bytes.h"

/* ---- imports ---- */

static void run_nn(LedgeGuest *g, uint64_t *values, const GuestFunction *self)
{
    LedgeNnMemory memory = {0};
    uint32_t args[8];
    memory.base = ledge__guest_memory(g, &memory.size);
    for (uint32_t i = 0; i < self->nn->params; i++)
        args[i] = (uint32_t)values[i];
    values[0] = (uint64_t)ledge__nn_call(g->nn, self->nn, memory, args);
}

enum {
#define NN_FUNCTION(module, name, params) INDEX_##module##_##name,
#include "wasm/wasi_nn/nn_functions.def"
#undef NN_FUNCTION
};

#define TAKES_1 "i:i"
#define TAKES_2 "ii:i"
#define TAKES_3 "iii:i"
#define TAKES_4 "iiii:i"
#define TAKES_5 "iiiii:i"
#define TAKES_6 "iiiiii:i"
static const GuestFunction nn_functions[] = {
#define NN_FUNCTION(module, name, params)                                                          \
    {#module, #name, TAKES_##params, run_nn, &ledge__nn_functions[INDEX_##module##_##name]},
#include "wasm/wasi_nn/nn_functions.def"
#undef NN_FUNCTION
};
enum { N_NN = sizeof nn_functions / sizeof *nn_functions };

/* NULL: ledge has none. */
static const GuestFunction *function_of(const char *module, const char *name)
{
    for (const GuestFunction *f = ledge__wasi_functions; f->name; f++)
        if (strcmp(f->module, module) == 0 && strcmp(f->name, name) == 0)
            return f;
    for (size_t i = 0; i < N_NN; i++)
        if (strcmp(nn_functions[i].module, module) == 0 && strcmp(nn_functions[i].name, name) == 0)
            return &nn_functions[i];
    return NULL;
}

bool ledge__guest_has(const char *module, const char *name)
{
    return function_of(module, name) != NULL;
}

static LedgeStatus join_imports(LedgeGuestModule *m, const char *where, LedgeError *err)
{
    const LwmFile *f = m->file;
    m->functions = ledge__calloc(NULL, f->n_imports + 1, sizeof *m->functions);
    if (!m->functions)
        return ledge__no_memory(err);
    for (size_t i = 0; i < f->n_imports; i++) {
        const LwmFunctionName *w = &f->imports[i];
        m->functions[i] = function_of(w->module, w->name);
        if (!m->functions[i])
            return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                               "the guest imports %s.%s, which ledge does not have; it has WASI "
                               "preview 1, wasi-nn and ledge_nn",
                               w->module, w->name);
        if (strcmp(m->functions[i]->signature, w->signature) != 0)
            return ledge__fail(
                err, LEDGE_ERROR_UNSUPPORTED, where,
                "the guest imports %s.%s with the signature %s, ledge has it with %s", w->module,
                w->name, w->signature, m->functions[i]->signature);
    }
    return LEDGE_OK;
}

static void run_import(void *context, uint64_t *values)
{
    GuestImport *i = context;
    i->guest->host_calls++;
    i->function->run(i->guest, values, i->function);
}

/* ---- modules ---- */

/* A sealed copy in memory: what is mapped is what was verified, whatever happens to the file. */
static LedgeStatus copy_code(LedgeGuestModule *m, LedgeError *err)
{
    const LwmTarget *t = m->target;
    m->fd = memfd_create("ledge-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (m->fd < 0)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL, "no memory file: %s", strerror(errno));
    for (size_t done = 0; done < t->size;) {
        const ssize_t n = write(m->fd, t->code + done, t->size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ledge__fail(err, LEDGE_ERROR_RUNTIME, NULL, "no memory for the guest's code: %s",
                               strerror(errno));
        done += (size_t)n;
    }
    (void)fcntl(m->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return LEDGE_OK;
}

static LedgeStatus map_code(LedgeGuestModule *m, const char *where, LedgeError *err)
{
    char path[64];
    LEDGE_TRY(copy_code(m, err));
    snprintf(path, sizeof path, "/proc/self/fd/%d", m->fd);
    m->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!m->library)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, where, "its code cannot be mapped: %s",
                           dlerror());
    const LwmModule *code = dlsym(m->library, LWM_SYMBOL);
    if (!code || code->abi != LWM_ABI)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "was built by another version of ledge; build it again");
    if (code->n_imports != m->file->n_imports || code->n_exports != m->file->n_exports)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "its code and its manifest do not belong together");
    m->code = code;
    m->code->bind(&ledge__guest_services);
    return LEDGE_OK;
}

static LedgeStatus open_module(LedgeGuestModule *m, const char *path, const LedgeKey *const *keys,
                               size_t n_keys, LedgeError *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    LEDGE_TRY(ledge__file_bytes(NULL, path, LWM_FILE_MAX, err, &bytes, &size));
    LEDGE_TRY(ledge__lwm_read(path, bytes, size, keys, n_keys, err, &m->file));
    LEDGE_TRY(ledge__lwm_choose(m->file, err, &m->target));
    LEDGE_TRY(join_imports(m, path, err));
    return map_code(m, path, err);
}

LedgeStatus ledge__guest_open(const char *path, const LedgeKey *const *keys, size_t n_keys,
                              LedgeError *err, LedgeGuestModule **out)
{
    LedgeGuestModule *m = ledge__calloc(NULL, 1, sizeof *m);
    if (!m)
        return ledge__no_memory(err);
    m->fd = -1;
    const LedgeStatus status = open_module(m, path, keys, n_keys, err);
    if (status) {
        ledge__guest_close(m);
        return status;
    }
    *out = m;
    return LEDGE_OK;
}

void ledge__guest_close(LedgeGuestModule *m)
{
    if (!m)
        return;
    if (m->code)
        m->code->end();
    if (m->library)
        dlclose(m->library);
    if (m->fd >= 0)
        close(m->fd);
    ledge__lwm_free(m->file);
    ledge__free(NULL, m->functions);
    ledge__free(NULL, m);
}

const LwmFile *ledge__guest_file(const LedgeGuestModule *module)
{
    return module->file;
}

const char *ledge__guest_target(const LedgeGuestModule *module)
{
    return module->target->name;
}

static const LwmFunctionName *find_export(const LwmFile *f, const char *name, size_t *index)
{
    for (size_t i = 0; i < f->n_exports; i++)
        if (strcmp(f->exports[i].name, name) == 0) {
            *index = i;
            return &f->exports[i];
        }
    return NULL;
}

const char *ledge__guest_signature(const LedgeGuestModule *module, const char *name)
{
    size_t index;
    const LwmFunctionName *e = find_export(module->file, name, &index);
    return e ? e->signature : NULL;
}

/* ---- instances ---- */

static bool is_cancelled(void *arg)
{
    const LedgeGuest *g = arg;
    return g->time_over;
}

static LedgeStatus check_memory(LedgeGuest *g, LedgeError *err)
{
    const LwmFile *f = g->module->file;
    struct rlimit space;
    if (!g->o.pages_option)
        g->o.pages_option = "--memory-page-limit";
    g->most_pages = f->most_pages;
    if (g->o.most_pages && g->o.most_pages < g->most_pages)
        g->most_pages = g->o.most_pages;
    if (f->has_memory && f->pages > g->most_pages)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, f->name,
                           "begins with %u pages of memory, the limit is %u; %s %u would do",
                           f->pages, g->most_pages, g->o.pages_option, f->pages);
    if (f->has_memory && g->module->code->guard_pages && getrlimit(RLIMIT_AS, &space) == 0 &&
        space.rlim_cur < 2 * GUEST_GUARD_BYTES)
        return ledge__fail(
            err, LEDGE_ERROR_LIMIT, f->name,
            "relies on 8 GiB of address space, which ulimit -v does not leave; raise "
            "that or build it with --bounds explicit");
    return LEDGE_OK;
}

static void start_instance(LedgeGuest *g, void *arg)
{
    (void)arg;
    g->module->code->instantiate(g->instance, &g->host);
}

static LedgeStatus fill_instance(LedgeGuest *g, LedgeError *err)
{
    const LedgeGuestModule *m = g->module;
    const size_t n = m->file->n_imports;
    LedgeGuestResult result;
    LEDGE_TRY(check_memory(g, err));
    /* Neither is zeroed page by page: most of the stack is never touched. */
    g->signal_stack = ledge__alloc(NULL, GUEST_SIGNAL_STACK, 1);
    g->instance = ledge__calloc(NULL, m->code->instance_size, 1);
    g->imports = ledge__calloc(NULL, n + 1, sizeof *g->imports);
    g->contexts = ledge__calloc(NULL, n + 1, sizeof *g->contexts);
    if (!g->signal_stack || !g->instance || !g->imports || !g->contexts)
        return ledge__no_memory(err);
    for (size_t i = 0; i < n; i++) {
        g->contexts[i] = (GuestImport){g, m->functions[i]};
        g->imports[i] = (LwmImport){run_import, &g->contexts[i]};
    }
    g->host.imports = g->imports;
    LedgeNnOptions nn = g->o.nn;
    nn.cancelled = is_cancelled;
    nn.cancel_arg = g;
    if (ledge__nn_new(&nn, &g->nn))
        return ledge__no_memory(err);
    LEDGE_TRY(ledge__wasi_new(&g->o, err, &g->wasi));
    ledge__guest_run(g, start_instance, NULL, &result);
    if (result.end == LEDGE_GUEST_TRAPPED)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, m->file->name, "%s", result.sentence);
    return LEDGE_OK;
}

LedgeStatus ledge__guest_new(LedgeGuestModule *module, const LedgeGuestOptions *options,
                             LedgeError *err, LedgeGuest **out)
{
    LedgeGuest *g = ledge__calloc(NULL, 1, sizeof *g);
    if (!g)
        return ledge__no_memory(err);
    g->module = module;
    g->o = options ? *options : (LedgeGuestOptions){0};
    const LedgeStatus status = fill_instance(g, err);
    if (status) {
        ledge__guest_free(g);
        return status;
    }
    *out = g;
    return LEDGE_OK;
}

void ledge__guest_free(LedgeGuest *g)
{
    if (!g)
        return;
    ledge__nn_free(g->nn);
    ledge__wasi_free(g->wasi);
    if (g->instance)
        g->module->code->destroy(g->instance);
    ledge__free(NULL, g->instance);
    ledge__free(NULL, g->imports);
    ledge__free(NULL, g->contexts);
    ledge__free(NULL, g->signal_stack);
    ledge__free(NULL, g);
}

/* ---- calls ---- */

typedef struct Call {
    const LwmExport *export;
    uint64_t *values;
} Call;

static void run_export(LedgeGuest *g, void *arg)
{
    const Call *c = arg;
    c->export->run(g->instance, c->values);
}

LedgeStatus ledge__guest_call(LedgeGuest *g, const char *name, uint64_t *values, size_t n,
                              LedgeError *err, LedgeGuestResult *result)
{
    size_t index = 0;
    const LwmFile *f = g->module->file;
    const LwmFunctionName *e = find_export(f, name, &index);
    if (!e)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, f->name, "exports no function '%s'", name);
    const size_t takes = strcspn(e->signature, ":");
    if (takes > n)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, f->name,
                           "'%s' takes %zu arguments, %zu were "
                           "given",
                           name, takes, n);
    if (g->dead)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, f->name,
                           "the instance has ended and cannot be called again");
    Call c = {&g->module->code->exports[index], values};
    ledge__guest_run(g, run_export, &c, result);
    return LEDGE_OK;
}

uint8_t *ledge__guest_memory(LedgeGuest *g, uint64_t *bytes)
{
    uint8_t *data = NULL;
    *bytes = 0;
    g->module->code->memory(g->instance, &data, bytes);
    return data;
}

uint8_t *ledge__guest_at(LedgeGuest *g, uint32_t address, uint64_t bytes)
{
    uint64_t size;
    uint8_t *data = ledge__guest_memory(g, &size);
    return data && bytes <= size && address <= size - bytes ? data + address : NULL;
}

LedgeGuestCounts ledge__guest_counts(LedgeGuest *g)
{
    return (LedgeGuestCounts){.pages = g->pages,
                              .most_pages = g->most_pages,
                              .grow_refused = g->grow_refused,
                              .host_calls = g->host_calls,
                              .missing_model = ledge__nn_missing(g->nn),
                              .nn = ledge__nn_counts(g->nn)};
}

void ledge__guest_tell_memory(const LedgeGuest *g, char *out, size_t room)
{
    const bool own = g->most_pages == g->module->file->most_pages;
    snprintf(out, room, "it uses %u of at most %u pages of memory and was refused more: %s%s",
             g->pages, g->most_pages, own ? "the module's own maximum" : g->o.pages_option,
             own ? "" : " raises that");
}
