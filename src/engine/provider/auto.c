/* providers = "auto": what is here, by a short measurement of this model on this machine, which is
 * kept in the user's cache folder ($XDG_CACHE_HOME/ledge/auto) and made anew when the model, the
 * machine, the threads or the libraries change. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cpu.h"
#include "base/hash.h"
#include "base/out_file.h"
#include "engine/onnx/onnx_map.h"
#include "engine/provider/backend_state.h"
#include "engine/provider/probes.h"

#define TRIAL_NS    200000000u /* for each candidate */
#define TRIAL_MAX   50
#define MAX_OPTIONS 32

typedef struct Trial {
    const char *name;
    uint64_t ns;
} Trial;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the measurement ---- */

/* Small numbers that are valid as pixels, token numbers, masks and indices alike. */
static void fill(LedgeTensor *t)
{
    const int64_t n = ledge_tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        if (t->type == LEDGE_FLOAT)
            ((float *)t->data)[i] = (float)((i * 37) % 101) / 101.0f;
        else if (ledge_type_bits(t->type) == 8)
            ((uint8_t *)t->data)[i] = 1;
    }
}

static LedgeStatus make_inputs(const LedgeModel *m, LedgeArena *arena, LedgeTensor **out)
{
    const size_t n = ledge_model_input_count(m);
    LedgeTensor *in = ledge__arena_alloc(arena, n, sizeof *in);
    for (size_t i = 0; in && i < n; i++) {
        const LedgeTensorInfo *info = ledge_model_input(m, i);
        if (info->rank < 0 || info->type >= LEDGE_SEQUENCE || info->type == LEDGE_STRING)
            return LEDGE_ERROR_SHAPE;
        in[i] = (LedgeTensor){.type = info->type, .rank = info->rank};
        for (int32_t d = 0; d < info->rank; d++)
            in[i].dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
        in[i].bytes = ledge_tensor_bytes(&in[i]);
        in[i].data = in[i].bytes == SIZE_MAX ? NULL : ledge__arena_aligned(arena, in[i].bytes + 1);
        if (!in[i].data)
            return LEDGE_ERROR_MEMORY;
        fill(&in[i]);
    }
    *out = in;
    return in ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

/* The options that are this provider's, into `words`. */
static size_t options_of(const LedgeSessionOptions *o, const char *name, const char **words)
{
    const size_t length = strlen(name);
    size_t n = 0;
    for (size_t i = 0; i < o->n_provider_options && n < MAX_OPTIONS; i++)
        if (strncmp(o->provider_options[i], name, length) == 0 &&
            o->provider_options[i][length] == '.')
            words[n++] = o->provider_options[i];
    return n;
}

/* The quickest of a few runs; 0: it does not run this model. */
static uint64_t measure(LedgeModel *m, const LedgeSessionOptions *o, const char *name,
                        const LedgeTensor *in, LedgeTensor *out)
{
    const char *words[MAX_OPTIONS];
    LedgeSessionOptions own = {.threads = o->threads,
                               .arena_limit = o->arena_limit,
                               .allocator = o->allocator,
                               .providers = name,
                               .provider_options = words,
                               .n_provider_options = options_of(o, name, words),
                               .strict = true};
    LedgeSession *s = NULL;
    uint64_t best = 0;
    const size_t n_in = ledge_model_input_count(m), n_out = ledge_model_output_count(m);
    if (ledge_session_create(m, &own, NULL, &s))
        return 0;
    const uint64_t begin = now_ns();
    for (int i = 0; i < TRIAL_MAX; i++) {
        memset(out, 0, n_out * sizeof *out);
        const uint64_t t = now_ns();
        if (ledge_session_run(s, in, n_in, out, n_out, NULL)) {
            best = 0;
            break;
        }
        const uint64_t end = now_ns(), ns = end - t + 1;
        best = i < 2 || ns < best ? ns : best; /* the first runs set things up */
        if (i > 2 && end - begin > TRIAL_NS)
            break;
    }
    ledge_session_free(s);
    return best;
}

static int by_time(const void *a, const void *b)
{
    const Trial *x = a, *y = b;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

static bool is_here(const char *name)
{
    ProbeAnswer p;
    return ledge__provider_probe(name, NULL, &p) == LEDGE_OK && p.status == LEDGE_OK;
}

static void join(const Trial *t, size_t n, char *list, size_t size)
{
    bool cpu = false;
    list[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        snprintf(list + strlen(list), size - strlen(list), "%s%s", i ? "," : "", t[i].name);
        cpu |= strcmp(t[i].name, "cpu") == 0;
    }
    if (!cpu)
        snprintf(list + strlen(list), size - strlen(list), "%scpu", n ? "," : "");
}

static LedgeStatus try_all(LedgeModel *m, const LedgeSessionOptions *o, char *list, size_t size,
                           LedgeError *err)
{
    Trial trials[32];
    size_t n = 0;
    LedgeTensor *in = NULL;
    LedgeArena *arena = ledge__arena_new(o->allocator);
    LedgeTensor *out =
        arena ? ledge__arena_alloc(arena, ledge_model_output_count(m) + 1, sizeof *out) : NULL;
    const LedgeStatus status = out ? make_inputs(m, arena, &in) : LEDGE_ERROR_MEMORY;
    for (size_t i = 0; i < ledge__known_provider_count && i < 32 && in; i++) {
        const char *name = ledge__known_providers[i].name;
        const uint64_t ns = is_here(name) ? measure(m, o, name, in, out) : 0;
        if (ns)
            trials[n++] = (Trial){name, ns};
    }
    ledge__arena_free(arena);
    if (status == LEDGE_ERROR_MEMORY)
        return ledge__no_memory(err);
    if (n)
        qsort(trials, n, sizeof *trials, by_time);
    if (n)
        join(trials, n, list, size);
    else /* cannot be measured: who is here, the CPU first */
        snprintf(list, size, "cpu%s", is_here("ort") ? ",ort" : "");
    return LEDGE_OK;
}

/* ---- the cache ---- */

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return text ? ledge__hash64(text, strlen(text), seed) : seed;
}

/* All that the answer depends on. 0: not to be kept (a model from memory). */
static uint64_t key_of(const LedgeModel *m, const LedgeSessionOptions *o, int threads)
{
    uint64_t h = hash_text(ledge_version(), 1);
    if (!m->onnx->mappings || !m->onnx->path)
        return 0;
    for (const OnnxMapping *f = m->onnx->mappings; f; f = f->next)
        h = ledge__hash64(f->bytes, f->size, h);
    h = hash_text(ledge__cpu_model_name(), h);
    const uint32_t level[3] = {m->cpu, (uint32_t)threads, m->no_optimize};
    h = ledge__hash64(level, sizeof level, h);
    ProbeAnswer p;
    struct stat st;
    if (ledge__provider_probe("ort", NULL, &p) == LEDGE_OK && !p.status &&
        stat(p.library, &st) == 0) {
        const int64_t file[2] = {(int64_t)st.st_size, (int64_t)st.st_mtime};
        h = hash_text(p.library, ledge__hash64(file, sizeof file, h));
    }
    for (size_t i = 0; i < o->n_provider_options; i++)
        h = hash_text(o->provider_options[i], h);
    return h ? h : 1;
}

static bool folder(char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (cache && *cache == '/')
        n = snprintf(path, size, "%s", cache);
    else if (home && *home == '/')
        n = snprintf(path, size, "%s/.cache", home);
    if (n <= 0 || (size_t)n + 64 > size)
        return false;
    static const char *const below[] = {"", "/ledge", "/auto"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path + strlen(path), size - strlen(path), "%s", below[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

/* Only names that ledge knows are taken from the file. */
static bool read_kept(const char *path, char *list, size_t size)
{
    FILE *f = fopen(path, "r");
    char line[600] = "";
    const bool ok = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    if (!ok || !*line || strlen(line) >= size)
        return false;
    for (const char *p = line; *p;) {
        char name[64];
        const size_t n = strcspn(p, ",");
        if (!n || n >= sizeof name)
            return false;
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (!ledge__known_find(name))
            return false;
        p += n + (p[n] == ',');
    }
    snprintf(list, size, "%s", line);
    return true;
}

static void keep(const char *path, const char *list)
{
    LedgeOutFile *f = NULL;
    if (ledge__out_file_open(NULL, path, NULL, &f))
        return; /* measured again next time */
    if (ledge__out_file_write(f, list, strlen(list), NULL) ||
        ledge__out_file_write(f, "\n", 1, NULL)) {
        ledge__out_file_abort(f);
        return;
    }
    (void)ledge__out_file_commit(f, NULL);
}

LedgeStatus ledge__auto_expand(LedgeModel *m, const LedgeSessionOptions *o, int threads, char *list,
                               size_t size, LedgeError *err)
{
    char path[1200];
    const uint64_t key = m->file ? 0 : key_of(m, o, threads);
    const bool kept = key && folder(path, sizeof path - 32);
    if (m->file) {
        snprintf(list, size, "cpu");
        return LEDGE_OK;
    }
    if (kept) {
        snprintf(path + strlen(path), 32, "/%016" PRIx64, key);
        if (read_kept(path, list, size))
            return LEDGE_OK;
    }
    LEDGE_TRY(try_all(m, o, list, size, err));
    if (kept)
        keep(path, list);
    return LEDGE_OK;
}
