/* Finding and loading ONNX Runtime, see ort_library.h. */
#include "engine/provider/ort_library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/lock.h"

#if defined(__x86_64__)
#define NODE_ARCH "x64"
#define TRIPLET   "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define NODE_ARCH "arm64"
#define TRIPLET   "aarch64-linux-gnu"
#else
#define NODE_ARCH "none"
#define TRIPLET   "none"
#endif

/* ---- where it is ---- */

/* Beside the library path: Debian's versioned names, and npm's package here and globally. */
static const char *const places[] = {
    "/usr/lib/" TRIPLET "/libonnxruntime.so*",
    "/usr/local/lib/libonnxruntime.so*",
    "node_modules/onnxruntime-node/bin/napi-v*/linux/" NODE_ARCH "/libonnxruntime.so*",
    "/usr/local/lib/node_modules/onnxruntime-node/bin/napi-v*/linux/" NODE_ARCH
    "/libonnxruntime.so*",
    "/usr/lib/node_modules/onnxruntime-node/bin/napi-v*/linux/" NODE_ARCH "/libonnxruntime.so*",
};

static bool copy_path(const char *from, char *path, size_t size)
{
    return (size_t)snprintf(path, size, "%s", from) < size;
}

static bool in_folder(const char *folder, size_t n, char *path, size_t size)
{
    char pattern[512];
    glob_t g;
    if (!n || (size_t)snprintf(pattern, sizeof pattern, "%.*s/libonnxruntime.so*", (int)n,
                               folder) >= sizeof pattern)
        return false;
    if (glob(pattern, 0, NULL, &g) != 0)
        return false;
    const bool ok = copy_path(g.gl_pathv[0], path, size);
    globfree(&g);
    return ok;
}

/* The folders that an administrator added to the loader's own. */
static bool in_configured_folders(char *path, size_t size)
{
    glob_t g;
    bool found = false;
    if (glob("/etc/ld.so.conf.d/*.conf", 0, NULL, &g) != 0)
        return false;
    for (size_t i = 0; i < g.gl_pathc && !found; i++) {
        char line[400];
        FILE *f = fopen(g.gl_pathv[i], "r");
        while (f && !found && fgets(line, sizeof line, f))
            found = line[0] == '/' && in_folder(line, strcspn(line, " \t\n"), path, size);
        if (f)
            fclose(f);
    }
    globfree(&g);
    return found;
}

/* LD_LIBRARY_PATH first, as the loader has it. */
static bool on_library_path(char *path, size_t size)
{
    const char *folders = getenv("LD_LIBRARY_PATH");
    while (folders && *folders) {
        const size_t n = strcspn(folders, ":;");
        if (in_folder(folders, n, path, size))
            return true;
        folders += n + (folders[n] != '\0');
    }
    return in_configured_folders(path, size);
}

static bool in_places(char *path, size_t size)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        glob_t g;
        if (glob(places[i], 0, NULL, &g) != 0)
            continue;
        const bool ok = copy_path(g.gl_pathv[g.gl_pathc - 1], path, size); /* the newest */
        globfree(&g);
        if (ok)
            return true;
    }
    return false;
}

bool ledge__ort_find(char *path, size_t size, char *why, size_t why_size)
{
    const char *own = getenv("LEDGE_ORT");
    if (own && *own) {
        if (access(own, R_OK) == 0 && copy_path(own, path, size))
            return true;
        snprintf(why, why_size, "LEDGE_ORT names '%.200s', which cannot be read", own);
        return false;
    }
    if (on_library_path(path, size) || in_places(path, size))
        return true;
    snprintf(why, why_size,
             "ONNX Runtime (libonnxruntime.so) is not on the library path, nor where Debian or npm "
             "put it");
    return false;
}

/* ---- loading ---- */

/* The C API that this library and ledge both know: by its version 1.N the library has API N, and
 * asking for one that it lacks would make it print. 0: too old. */
static uint32_t api_version(const char *version)
{
    unsigned major = 0, minor = 0;
    if (sscanf(version, "%u.%u", &major, &minor) != 2)
        return ORT_API_VERSION_MIN;
    if (major == 1 && minor < ORT_API_VERSION_MIN)
        return 0;
    return major > 1 || minor > ORT_API_VERSION_PLACEMENT ? ORT_API_VERSION_PLACEMENT : minor;
}

static int hush(void)
{
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const int was = null >= 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3) : -1;
    if (was >= 0) {
        fflush(stderr);
        dup2(null, STDERR_FILENO);
    }
    if (null >= 0)
        close(null);
    return was;
}

static void speak(int was)
{
    if (was < 0)
        return;
    dup2(was, STDERR_FILENO);
    close(was);
}

static LedgeStatus load(const char *path, LedgeError *err, OrtLibrary *o)
{
    const OrtApiBase *(*get_base)(void);
    o->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!o->handle)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this is no library that can be loaded here: %.300s", dlerror());
    void *symbol = dlsym(o->handle, "OrtGetApiBase");
    if (!symbol)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this is no ONNX Runtime: it has no OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof get_base);
    const OrtApiBase *base = get_base();
    const char *version = base && base->GetVersionString ? base->GetVersionString() : NULL;
    snprintf(o->version, sizeof o->version, "%s", version ? version : "?");
    snprintf(o->path, sizeof o->path, "%s", path);
    o->api = version ? api_version(version) : 0;
    const void *api = o->api && base->GetApi ? base->GetApi(o->api) : NULL;
    if (!api)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "ONNX Runtime %s is too old: its C API must be version %u or later "
                           "(1.%u); install a newer one",
                           o->version, ORT_API_VERSION_MIN, ORT_API_VERSION_MIN);
    ledge__ort_fill(&o->c, api, o->api);
    return LEDGE_OK;
}

static LedgeStatus start(OrtLibrary *o, LedgeError *err)
{
    return ledge__ort_check(o, o->c.CreateEnv(ORT_LOG_FATAL, "ledge", &o->env),
                            LEDGE_ERROR_PROVIDER, "starting ONNX Runtime", err);
}

/* Debian's library shares libonnx, whose operators are then registered twice; with the first
 * session each is told on stderr, thousands of lines that say nothing. That session is one of ours,
 * y = Identity(x), while nobody listens. */
static void get_over_with_it(const OrtLibrary *o)
{
    static const uint8_t identity[] =
        "\x08\x08\x3a\x2b\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g\x5a\x09\x0a\x01x"
        "\x12\x04\x0a\x02\x08\x01\x62\x09\x0a\x01y\x12\x04\x0a\x02\x08\x01\x42\x02\x10\x0d";
    void *shared = dlopen("libonnx.so.1", RTLD_LAZY | RTLD_NOLOAD);
    OrtSessionOptions *so = NULL;
    OrtSession *session = NULL;
    if (!shared)
        return;
    const int was = hush();
    OrtStatus *s = o->c.CreateSessionOptions(&so);
    if (!s)
        s = o->c.CreateSessionFromArray(o->env, identity, sizeof identity - 1, so, &session);
    if (s)
        o->c.ReleaseStatus(s);
    if (session)
        o->c.ReleaseSession(session);
    if (so)
        o->c.ReleaseSessionOptions(so);
    speak(was);
    dlclose(shared); /* the reference of the look above */
}

LedgeStatus ledge__ort_library(const char *path, LedgeError *err, const OrtLibrary **out)
{
    /* One a process: a second ONNX Runtime beside the first would share its symbols. */
    static LedgeLock lock = {PTHREAD_MUTEX_INITIALIZER};
    static OrtLibrary library;
    static bool loaded;
    LedgeStatus status = LEDGE_OK;
    ledge__lock_take(&lock);
    if (!loaded) {
        OrtLibrary made = {0};
        status = load(path, err, &made);
        if (status == LEDGE_OK)
            status = start(&made, err);
        if (status == LEDGE_OK) {
            get_over_with_it(&made);
            library = made;
            loaded = true;
        }
    } else if (strcmp(path, library.path) != 0) {
        status =
            ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                        "this process has loaded another ONNX Runtime already: %s", library.path);
    }
    if (status == LEDGE_OK)
        *out = &library;
    ledge__lock_give(&lock);
    return status;
}

/* ---- calls ---- */

static bool is_out_of_memory(const char *text)
{
    static const char *const signs[] = {"out of memory",      "OUT_OF_MEMORY",
                                        "OutOfMemory",        "Failed to allocate memory",
                                        "bad_alloc",          "BFCArena::AllocateRawInternal",
                                        "Available memory of"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(text, signs[i]))
            return true;
    return false;
}

LedgeStatus ledge__ort_check(const OrtLibrary *o, OrtStatus *s, LedgeStatus as, const char *during,
                             LedgeError *err)
{
    if (!s)
        return LEDGE_OK;
    char text[400];
    snprintf(text, sizeof text, "%s", o->c.GetErrorMessage(s));
    text[strcspn(text, "\n")] = '\0';
    o->c.ReleaseStatus(s);
    if (is_out_of_memory(text))
        as = LEDGE_ERROR_MEMORY;
    return ledge__fail(err, as, NULL, "%s: %s", during, text);
}

static LedgeStatus append_cuda(const OrtLibrary *o, OrtSessionOptions *so, bool tensorrt,
                               const char *const *keys, const char *const *values, size_t n,
                               const char *during, LedgeError *err)
{
    const OrtCalls *c = &o->c;
    OrtProviderOptionsV2 *made = NULL;
    LedgeStatus s = ledge__ort_check(
        o, tensorrt ? c->CreateTensorRTOptions(&made) : c->CreateCUDAOptions(&made),
        LEDGE_ERROR_PROVIDER, during, err);
    if (s == LEDGE_OK && n)
        s = ledge__ort_check(o,
                             tensorrt ? c->UpdateTensorRTOptions(made, keys, values, n)
                                      : c->UpdateCUDAOptions(made, keys, values, n),
                             LEDGE_ERROR_PROVIDER, during, err);
    if (s == LEDGE_OK)
        s = ledge__ort_check(o, tensorrt ? c->AppendTensorRT(so, made) : c->AppendCUDA(so, made),
                             LEDGE_ERROR_PROVIDER, during, err);
    if (made)
        (tensorrt ? c->ReleaseTensorRTOptions : c->ReleaseCUDAOptions)(made);
    return s;
}

/* Older providers take one number: flags (NNAPI, in the order of its options) or a switch. */
static unsigned long as_number(const KnownProvider *known, const char *const *keys,
                               const char *const *values, size_t n)
{
    unsigned long bits = 0;
    if (strcmp(known->name, "dnnl") == 0)
        bits = 1; /* use_arena, unless told otherwise */
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < known->n_options; i++)
            if (strcmp(known->options[i].name, keys[k]) == 0)
                bits = strtol(values[k], NULL, 10) ? bits | 1ul << i : bits & ~(1ul << i);
    return bits;
}

static LedgeStatus append_flags(const OrtLibrary *o, OrtSessionOptions *so,
                                const KnownProvider *known, unsigned long number,
                                const char *during, LedgeError *err)
{
    OrtStatus *(*call)(OrtSessionOptions *, uint32_t);
    void *symbol = dlsym(o->handle, known->symbol);
    if (!symbol)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, NULL,
                           "%s: ONNX Runtime %s lists it but does not export %s", during,
                           o->version, known->symbol);
    memcpy(&call, &symbol, sizeof call);
    return ledge__ort_check(o, call(so, (uint32_t)number), LEDGE_ERROR_PROVIDER, during, err);
}

LedgeStatus ledge__ort_append(const OrtLibrary *o, OrtSessionOptions *so,
                              const KnownProvider *known, const char *const *keys,
                              const char *const *values, size_t n, LedgeError *err)
{
    char during[64];
    snprintf(during, sizeof during, "%s", known->ort_name);
    switch (known->append) {
    case ORT_APPEND_NONE:
        return LEDGE_OK;
    case ORT_APPEND_CUDA:
    case ORT_APPEND_TENSORRT:
        return append_cuda(o, so, known->append == ORT_APPEND_TENSORRT, keys, values, n, during,
                           err);
    case ORT_APPEND_NAMED:
        return ledge__ort_check(o, o->c.AppendNamed(so, known->symbol, keys, values, n),
                                LEDGE_ERROR_PROVIDER, during, err);
    case ORT_APPEND_FLAGS:
        return append_flags(o, so, known, as_number(known, keys, values, n), during, err);
    }
    return LEDGE_OK;
}

/* ---- the look in the child ---- */

/* ONNX Runtime tells its log, not its caller, which library a provider misses; the loader does. */
static void name_missing_library(const OrtLook *look, ProbeAnswer *out)
{
    char path[400];
    const char *slash = strrchr(look->path, '/');
    snprintf(path, sizeof path, "%.*slibonnxruntime_providers_%s.so",
             slash ? (int)(slash + 1 - look->path) : 0, look->path, look->known->name);
    const bool nvidia =
        look->known->append == ORT_APPEND_CUDA || look->known->append == ORT_APPEND_TENSORRT;
    const char *missing = NULL;
    if (nvidia && !dlopen("libcuda.so.1", RTLD_LAZY))
        missing = "there is no NVIDIA driver (libcuda.so.1)";
    else if (!dlopen(path, RTLD_LAZY))
        missing = dlerror();
    if (missing)
        ledge__probe_refuse(out, "%s: %.250s; %s", look->known->ort_name, missing,
                            look->known->mend);
}

/* Whether the library lists the provider; `list` gets what it has instead. */
static bool is_listed(const OrtLibrary *o, const KnownProvider *known, char *list, size_t size)
{
    char **names = NULL;
    int n = 0;
    bool found = false;
    OrtStatus *s = o->c.GetAvailableProviders(&names, &n);
    if (s) {
        o->c.ReleaseStatus(s);
        return true; /* it does not say: let the attempt decide */
    }
    list[0] = '\0';
    for (int i = 0; i < n; i++) {
        found |= strcmp(names[i], known->ort_name) == 0;
        const KnownProvider *other = ledge__known_find_ort(names[i]);
        snprintf(list + strlen(list), size - strlen(list), "%s%s", i ? ", " : "",
                 other ? other->name : names[i]);
    }
    s = o->c.ReleaseAvailableProviders(names, n);
    if (s)
        o->c.ReleaseStatus(s);
    return found;
}

void ledge__ort_look(const void *ort_look, ProbeAnswer *out)
{
    const OrtLook *look = ort_look;
    OrtLibrary o = {0};
    LedgeError err = {0};
    char list[200];
    OrtSessionOptions *so = NULL;
    snprintf(out->library, sizeof out->library, "%s", look->path);
    const LedgeStatus status = load(look->path, &err, &o);
    snprintf(out->version, sizeof out->version, "%s", o.version);
    if (status) {
        ledge__probe_refuse(out, "%s: %.380s", look->path, err.message);
        return;
    }
    if (!is_listed(&o, look->known, list, sizeof list)) {
        ledge__probe_refuse(out, "this build of ONNX Runtime %s has no %s (it has %s); %s",
                            o.version, look->known->ort_name, list, look->known->mend);
        return;
    }
    /* What is in the library itself is here with it; this half of the work is the parent's. */
    if (look->known->append == ORT_APPEND_NONE)
        return;
    if (!start(&o, &err) &&
        !ledge__ort_check(&o, o.c.CreateSessionOptions(&so), LEDGE_ERROR_PROVIDER, "options",
                          &err) &&
        !ledge__ort_append(&o, so, look->known, NULL, NULL, 0, &err))
        return;
    ledge__probe_refuse(out, "%.300s; %s", err.message, look->known->mend);
    if (strstr(err.message, "Failed to load shared library"))
        name_missing_library(look, out);
}
