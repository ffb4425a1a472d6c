/* Shadows, see shadow.h. */
#include "fleet/agent/shadow.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/timed_wait.h"
#include "base/scores.h"
#include "image/preprocess.h"

enum { MODELS = 16, INPUTS = 8, LOOK_S = 2, PATH = 1024, INPUT_MAX = 64 << 20 };

typedef struct Shade {
    char name[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    char target[PATH]; /* of the link, as it was loaded */
    LedgeModel *model; /* NULL: it could not be loaded */
    LedgeSession *session;
    bool seen;
} Shade;

struct LedgeShadow {
    char folder[PATH / 2];
    LedgeTelemetry *telemetry;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool stops, is_busy;
    Shade shades[MODELS]; /* changed by the thread alone, under the lock */
    size_t n;
    /* The request that is worked on; the thread's while is_busy. */
    char model[LEDGE_FLEET_NAME];
    LedgeTensor inputs[INPUTS];
    size_t n_inputs;
    int64_t class_id;
};

/* ---- models ---- */

static void drop(Shade *h)
{
    ledge_session_free(h->session);
    ledge_model_free(h->model);
    *h = (Shade){.seen = false};
}

static bool version_of(const char *target, char out[LEDGE_FLEET_NAME])
{
    return sscanf(target, "../versions/%*[^/]/%64[^/]/", out) == 1 && ledge__fleet_is_name(out);
}

/* Loads without the lock, which takes time; nobody else touches an unlisted one. */
static Shade load(const LedgeShadow *s, const char *name, const char *target)
{
    char path[PATH];
    Shade h = {.seen = true};
    const LedgeSessionOptions options = {.threads = 1};
    snprintf(h.name, sizeof h.name, "%s", name);
    snprintf(h.target, sizeof h.target, "%s", target);
    snprintf(path, sizeof path, "%s/%s.onnx", s->folder, name);
    if (!version_of(target, h.version) || ledge_model_load(path, NULL, NULL, &h.model))
        return h;
    if (ledge_session_create(h.model, &options, NULL, &h.session)) {
        ledge_model_free(h.model);
        h.model = NULL;
    }
    return h;
}

static void look_at(LedgeShadow *s, const char *name, const char *target)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->shades[i].name, name) != 0)
        i++;
    if (i < s->n && strcmp(s->shades[i].target, target) == 0) {
        s->shades[i].seen = true;
        return;
    }
    if (i == MODELS)
        return;
    const Shade fresh = load(s, name, target);
    pthread_mutex_lock(&s->lock);
    Shade old = {.seen = false};
    if (i < s->n)
        old = s->shades[i];
    else
        s->n++;
    s->shades[i] = fresh;
    pthread_mutex_unlock(&s->lock);
    drop(&old);
}

static void look(LedgeShadow *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->shades[i].seen = false;
    DIR *d = opendir(s->folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[PATH], target[PATH] = "", name[LEDGE_FLEET_NAME];
        const size_t n = strlen(e->d_name);
        if (n <= 5 || n - 5 >= sizeof name || strcmp(e->d_name + n - 5, ".onnx") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(n - 5), e->d_name);
        snprintf(path, sizeof path, "%s/%.100s", s->folder, e->d_name);
        if (readlink(path, target, sizeof target - 1) > 0)
            look_at(s, name, target);
    }
    if (d)
        closedir(d);
    for (size_t i = s->n; i-- > 0;)
        if (!s->shades[i].seen) {
            pthread_mutex_lock(&s->lock);
            Shade gone = s->shades[i];
            s->shades[i] = s->shades[--s->n];
            pthread_mutex_unlock(&s->lock);
            drop(&gone);
        }
}

/* ---- requests ---- */

static void forget_inputs(LedgeShadow *s)
{
    for (size_t i = 0; i < s->n_inputs; i++)
        ledge__free(NULL, s->inputs[i].data);
    s->n_inputs = 0;
}

static bool copy_inputs(LedgeShadow *s, const LedgeTensor *inputs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = ledge_tensor_bytes(&inputs[i]);
        LedgeTensor copy = inputs[i];
        const bool fits = bytes <= INPUT_MAX && inputs[i].data && inputs[i].type != LEDGE_STRING;
        copy.data = fits ? ledge__alloc(NULL, bytes + 1, 1) : NULL;
        if (!copy.data) {
            forget_inputs(s);
            return false;
        }
        memcpy(copy.data, inputs[i].data, bytes);
        s->inputs[s->n_inputs++] = copy;
    }
    return true;
}

void ledge__shadow_show(LedgeShadow *s, const char *model, const LedgeTensor *inputs, size_t n,
                        int64_t class_id)
{
    if (!inputs || !n || n > INPUTS || class_id < 0 || pthread_mutex_trylock(&s->lock) != 0)
        return;
    bool wanted = false;
    for (size_t i = 0; !s->is_busy && i < s->n; i++)
        wanted = wanted || (s->shades[i].model && strcmp(s->shades[i].name, model) == 0);
    if (wanted && copy_inputs(s, inputs, n)) {
        snprintf(s->model, sizeof s->model, "%s", model);
        s->class_id = class_id;
        s->is_busy = true;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Bytes of pictures become what the new version's own preprocessing makes of them, where it takes
 * floats: the version that serves may normalise them itself. What cannot be stays. */
static void to_floats(LedgeShadow *s, const LedgeModel *m)
{
    LedgePreprocess pre;
    LedgeTensor floats;
    if (s->n_inputs != 1 || s->inputs[0].type != LEDGE_UINT8 || ledge_model_input_count(m) != 1 ||
        ledge_model_input(m, 0)->type != LEDGE_FLOAT ||
        ledge__preprocess_for_model(m, 0, NULL, NULL, &pre, NULL) ||
        ledge__preprocess_floats(&pre, NULL, &s->inputs[0], NULL, &floats))
        return;
    ledge__free(NULL, s->inputs[0].data);
    s->inputs[0] = floats;
}

/* The thread's own: shades change only by it. */
static void compare(LedgeShadow *s)
{
    const Shade *h = NULL;
    LedgeTensor out[INPUTS] = {{0}};
    int64_t rows, classes, class_id = -1;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->shades[i].name, s->model) == 0)
            h = &s->shades[i];
    if (!h || !h->model || ledge_model_output_count(h->model) > INPUTS)
        return;
    to_floats(s, h->model);
    const int64_t start = ledge__clock_us(CLOCK_MONOTONIC);
    /* A version that cannot take these inputs, or fails at them, does not agree. */
    if (ledge_session_run(h->session, s->inputs, s->n_inputs, out,
                          ledge_model_output_count(h->model), NULL) == LEDGE_OK &&
        ledge__scores_of(&out[0], &rows, &classes))
        ledge__scores_top(&out[0], 0, 1, &class_id);
    ledge__telemetry_shadow(s->telemetry, h->name, h->version, class_id == s->class_id,
                            ledge__clock_us(CLOCK_MONOTONIC) - start);
}

static void *work(void *arg)
{
    LedgeShadow *s = arg;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    int64_t looked = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->stops) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_S;
        if (!s->is_busy && looked)
            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        const bool busy = s->is_busy;
        pthread_mutex_unlock(&s->lock);
        if (busy)
            compare(s);
        if (!looked || ledge__clock_us(CLOCK_MONOTONIC) - looked >= LOOK_S * 1000000) {
            look(s);
            looked = ledge__clock_us(CLOCK_MONOTONIC);
        }
        pthread_mutex_lock(&s->lock);
        if (busy) {
            forget_inputs(s);
            s->is_busy = false;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

LedgeStatus ledge__shadow_open(const char *folder, LedgeTelemetry *t, LedgeError *err,
                               LedgeShadow **out)
{
    if (strlen(folder) >= PATH / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, folder, "the path is too long");
    LedgeShadow *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    strcpy(s->folder, folder);
    s->telemetry = t;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    if (pthread_create(&s->thread, NULL, work, s) != 0) {
        free(s);
        return ledge__no_memory(err);
    }
    *out = s;
    return LEDGE_OK;
}

void ledge__shadow_close(LedgeShadow *s)
{
    if (!s)
        return;
    ledge__wait_stop(&s->lock, &s->wake, &s->stops, s->thread);
    forget_inputs(s);
    while (s->n)
        drop(&s->shades[--s->n]);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}
