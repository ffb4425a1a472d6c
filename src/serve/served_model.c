/* Loading, counting and freeing of served models. */
#include "serve/served_model.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/scores.h"
#include "base/timed_wait.h"
#include "serve/drift_keep.h"
#include "trust/sha256.h"

#define BASELINE_KEY "ledge.baseline"

double ledge__now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool ledge__served_name_ok(const char *name)
{
    const size_t n = strlen(name);
    if (n == 0 || n >= LEDGE_SERVE_NAME || name[0] == '.' || name[n - 1] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-' && *p != '.')
            return false;
    return true;
}

static LedgeStatus watch(LedgeServed *m, LedgeError *err)
{
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    const char *text = ledge_model_metadata(m->model, BASELINE_KEY);
    LedgeDriftOptions how = m->options.drift_options;
    LedgeBaseline *baseline = NULL;
    if (!m->options.drift)
        return LEDGE_OK;
    how.feature_name = ledge__input_feature_name;
    if (text)
        LEDGE_TRY(ledge__baseline_read(text, strlen(text), a, err, &baseline));
    const LedgeStatus s = ledge__drift_new(&how, baseline, a, err, &m->drift);
    ledge__baseline_free(baseline);
    if (s != LEDGE_OK)
        return s;
    if (m->options.state)
        ledge__drift_take_up(m, m->options.state);
    ledge__drift_report(m->drift, &m->drift_report);
    return LEDGE_OK;
}

/* Only outputs of numbers and strings are kept. */
static LedgeStatus open_cache(LedgeServed *m, LedgeError *err)
{
    const LedgeCacheOptions o = {
        .bytes = m->options.cache_bytes, .ttl = m->options.cache_ttl, .now = ledge__now};
    bool keepable = o.bytes > 0;
    for (size_t i = 0; i < m->n_outputs; i++)
        keepable = keepable && ledge_type_bits(ledge_model_output(m->model, i)->type) > 0;
    return keepable ? ledge__cache_new(&o, err, &m->cache) : LEDGE_OK;
}

/* Answers the engine, which asks before it optimises. */
static bool ask_for_pixels(void *arg, const LedgeModel *model, size_t input, LedgePixels *out)
{
    LedgeServed *m = arg;
    if (!ledge__preprocess_ask(model, input, NULL, &m->pre, NULL, out))
        return false;
    m->takes_pictures = true;
    return true;
}

/* After loading: refuses a model that was to take pixels and does not. */
static LedgeStatus look_at_pixels(LedgeServed *m, LedgeError *err)
{
    if (!m->options.pixels)
        return LEDGE_OK;
    if (!m->takes_pictures)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, m->name,
                           "takes no pixels: these are for models whose only input is a picture "
                           "[N,C,H,W] or [N,H,W,C] of float32 with 1 or 3 channels");
    m->pixels = calloc(1, sizeof *m->pixels);
    if (!m->pixels)
        return ledge__no_memory(err);
    m->pixels->reversed = m->pre.color == LEDGE_COLOR_BGR;
    ledge__preprocess_values(&m->pre, m->pixels->value);
    return LEDGE_OK;
}

static bool free_first(const LedgeTensorInfo *info)
{
    return info->rank > 0 && info->dims[0] < 0;
}

static LedgeStatus look_at(LedgeServed *m, LedgeError *err)
{
    m->n_inputs = ledge_model_input_count(m->model);
    m->n_outputs = ledge_model_output_count(m->model);
    m->output_names = calloc(m->n_outputs + 1, sizeof *m->output_names);
    if (!m->output_names)
        return ledge__no_memory(err);
    m->batches = m->n_inputs > 0 && m->n_outputs > 0;
    for (size_t i = 0; i < m->n_outputs; i++) {
        m->output_names[i] = ledge_model_output(m->model, i)->name;
        m->batches = m->batches && free_first(ledge_model_output(m->model, i));
    }
    for (size_t i = 0; i < m->n_inputs; i++)
        m->batches = m->batches && free_first(ledge_model_input(m->model, i));
    LEDGE_TRY(look_at_pixels(m, err));
    m->takes_pictures =
        m->pixels || (m->n_inputs == 1 && ledge__preprocess_for_model(m->model, 0, NULL, NULL,
                                                                      &m->pre, NULL) == LEDGE_OK);
    LEDGE_TRY(ledge__labels_of_model(m->model, err, &m->labels));
    LEDGE_TRY(open_cache(m, err));
    return watch(m, err);
}

/* An agent links its models by name and keeps them in folders by release. */
static void find_release(LedgeServed *m, const char *path)
{
    char *real = realpath(path, NULL);
    const char *at = real ? strstr(real, "/versions/") : NULL;
    const char *slash = at ? strchr(at + 10, '/') : NULL;
    const size_t n = slash ? strcspn(slash + 1, "/") : 0;
    snprintf(m->release, sizeof m->release, "%s", m->version);
    if (n > 0 && n < sizeof m->release && slash[1 + n] == '/')
        snprintf(m->release, sizeof m->release, "%.*s", (int)n, slash + 1);
    free(real);
}

LedgeStatus ledge__served_load(const char *name, const char *version, const char *path,
                               const LedgeServedOptions *options, LedgeError *err,
                               LedgeServed **out)
{
    if (!ledge__served_name_ok(name) || strlen(version) >= sizeof(*out)->version)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                           "a model's name is made of up to 63 letters, digits, '_', '-' and '.'");
    LedgeServed *m = calloc(1, sizeof *m);
    if (!m || !ledge__wait_init(&m->lock, &m->all_shown)) {
        free(m);
        return ledge__no_memory(err);
    }
    atomic_init(&m->refs, 1);
    strcpy(m->name, name);
    strcpy(m->version, version);
    m->options = *options;
    find_release(m, path);
    const LedgeModelOptions how = {.cpu = options->cpu[0] ? options->cpu : NULL,
                                   .pixels = options->pixels ? ask_for_pixels : NULL,
                                   .pixels_arg = m};
    uint64_t bytes;
    LedgeStatus s = ledge__sha256_file(path, err, m->hash, &bytes);
    if (s == LEDGE_OK)
        s = ledge_model_load(path, &how, err, &m->model);
    if (s == LEDGE_OK)
        s = look_at(m, err);
    if (s == LEDGE_OK)
        s = ledge__served_guest_load(&options->guest, path, err, &m->guest);
    if (s != LEDGE_OK)
        ledge__served_unref(m);
    else
        *out = m;
    return s;
}

LedgeServed *ledge__served_ref(LedgeServed *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void ledge__served_unref(LedgeServed *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    for (int i = 0; i <= LEDGE_SERVE_WORKERS; i++)
        ledge_session_free(m->session[i]);
    ledge_model_free(m->model);
    ledge__drift_free(m->drift);
    ledge__cache_free(m->cache);
    ledge__served_guest_free(m->guest);
    ledge__wait_end(&m->lock, &m->all_shown);
    free(m->output_names);
    free(m->pixels);
    ledge__labels_free(&m->labels);
    free(m);
}

LedgeStatus ledge__served_session(LedgeServed *m, int worker, LedgeError *err, LedgeSession **out)
{
    LedgeSession **mine = &m->session[worker];
    const LedgeSessionOptions o = {.threads = m->options.threads,
                                   .arena_limit = m->options.arena_limit};
    if (!*mine)
        LEDGE_TRY(ledge_session_create(m->model, &o, err, mine));
    *out = *mine;
    return LEDGE_OK;
}

/* ---- statistics ---- */

/* What an answer's row says; class_id -1, confidence NAN: it is not scores. */
typedef struct Best {
    int64_t class_id;
    double confidence;
} Best;

static Best best_of(const LedgeTensor *scores, int64_t row)
{
    Best best = {-1, NAN};
    ledge__scores_top(scores, row, 1, &best.class_id);
    if (best.class_id >= 0)
        ledge__scores_probabilities(scores, row, &best.class_id, 1, &best.confidence);
    return best;
}

bool ledge__served_look(const LedgeServed *m, const LedgeTensor *input, int64_t rows,
                        LedgeInputFeatures *out)
{
    for (int64_t i = 0; i < rows; i++)
        if (!ledge__input_features(input, i, m->pixels, out[i]))
            return false;
    return rows > 0;
}

/* Of one row. false: there is nothing to see. */
static bool features_of(const LedgeServed *m, const LedgeServedAnswer *a, int64_t row,
                        LedgeInputFeatures out)
{
    if (!a->features)
        return a->inputs && m->n_inputs > 0 &&
               ledge__input_features(&a->inputs[0], row, m->pixels, out);
    if (row < a->n_features)
        memcpy(out, a->features[row], sizeof(LedgeInputFeatures));
    return row < a->n_features;
}

/* Looking at an input takes far longer than counting it: other workers need not wait for that. */
static void record_drift(LedgeServed *m, const LedgeServedAnswer *a, int64_t rows, Best first)
{
    struct timespec now; /* of the calendar: the state outlives this machine's uptime */
    clock_gettime(CLOCK_REALTIME, &now);
    for (int64_t i = 0; i < rows; i++) {
        LedgeInputFeatures features;
        const Best best = i == 0 ? first : best_of(&a->outputs[0], i);
        LedgeDriftRecord r = {.time = (double)now.tv_sec,
                              .latency = a->latency,
                              .class_id = best.class_id,
                              .confidence = (float)best.confidence,
                              .features = features};
        if (features_of(m, a, i, features))
            r.n_features = LEDGE_INPUT_FEATURE_COUNT;
        pthread_mutex_lock(&m->lock);
        m->drift_records++;
        if (ledge__drift_record(m->drift, &r))
            ledge__drift_report(m->drift, &m->drift_report);
        pthread_mutex_unlock(&m->lock);
    }
}

static void tell(LedgeServed *m, const LedgeServedAnswer *a, Best best, const char *drift,
                 bool failed)
{
    const LedgeServedSeen seen = {.model = m,
                                  .latency = a->latency,
                                  .class_id = best.class_id,
                                  .confidence = best.confidence,
                                  .inputs = a->inputs,
                                  .picture = a->picture,
                                  .drift = drift,
                                  .failed = failed};
    m->options.seen(m->options.seen_arg, &seen);
}

/* The caller holds the lock. */
static const char *drift_name(const LedgeServed *m)
{
    return !m->drift                  ? "off"
           : m->drift_report.learning ? "learning"
                                      : ledge__severity_name(m->drift_report.severity);
}

const char *ledge__served_drift(LedgeServed *m)
{
    pthread_mutex_lock(&m->lock);
    const char *name = drift_name(m);
    pthread_mutex_unlock(&m->lock);
    return name;
}

void ledge__served_count(LedgeServed *m, double latency)
{
    pthread_mutex_lock(&m->lock);
    m->answered++;
    ledge__sketch_add(&m->latency, latency);
    pthread_mutex_unlock(&m->lock);
}

void ledge__served_show(LedgeServed *m, const LedgeServedAnswer *a)
{
    const bool drifts = m->drift && a->watch;
    int64_t rows = 1, classes;
    Best best = {-1, NAN};
    if ((drifts || m->options.seen) && m->n_outputs > 0 &&
        ledge__scores_of(&a->outputs[0], &rows, &classes))
        best = best_of(&a->outputs[0], 0);
    if (drifts)
        record_drift(m, a, rows, best);
    pthread_mutex_lock(&m->lock);
    m->shown++;
    pthread_cond_broadcast(&m->all_shown);
    const char *drift = drift_name(m);
    pthread_mutex_unlock(&m->lock);
    if (m->options.seen)
        tell(m, a, best, drift, false);
}

void ledge__served_lock_shown(LedgeServed *m)
{
    pthread_mutex_lock(&m->lock);
    for (const uint64_t answered = m->answered; m->shown < answered;)
        pthread_cond_wait(&m->all_shown, &m->lock);
}

void ledge__served_failed(LedgeServed *m)
{
    pthread_mutex_lock(&m->lock);
    m->failed++;
    const char *drift = drift_name(m);
    pthread_mutex_unlock(&m->lock);
    if (m->options.seen)
        tell(m, &(LedgeServedAnswer){0}, (Best){-1, NAN}, drift, true);
}
