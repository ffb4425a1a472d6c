/* See served_guest.h. */
#include "serve/served_guest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/guest_wire.h"
#include "serve/served_model.h"
#include "trust/key.h"
#include "wasm/runner/guest.h"

/* An instance that waits for a request. */
typedef struct Idle {
    struct Idle *next;
    LedgeGuest *guest;
} Idle;

struct LedgeServedGuest {
    char path[1024], hash[LEDGE_SHA256_HEX];
    LedgeGuestModule *module;
    LedgeGuestOptions how;
    bool stage[LEDGE_GUEST_STAGES];
    pthread_mutex_t lock; /* of what follows */
    Idle *idle;
    LedgeGuestStats stats;
};

static const char *const exports[LEDGE_GUEST_STAGES] = {"ledge_preprocess", "ledge_postprocess"};

const char *ledge__guest_stage_name(LedgeGuestStage stage)
{
    return exports[stage] + strlen("ledge_");
}

const char *ledge__guest_failure_name(LedgeGuestFailure f)
{
    static const char *const names[] = {
#define X(NAME, name) name,
        LEDGE_GUEST_FAILURES(X)
#undef X
    };
    return names[f];
}

bool ledge__served_guest_has(const LedgeServedGuest *g, LedgeGuestStage stage)
{
    return g && g->stage[stage];
}

const char *ledge__served_guest_hash(const LedgeServedGuest *g)
{
    return g->hash;
}

void ledge__served_guest_stats(LedgeServedGuest *g, LedgeGuestStats *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    pthread_mutex_unlock(&g->lock);
}

/* ---- failures ---- */

static void count(LedgeServedGuest *g, LedgeGuestFailure f)
{
    pthread_mutex_lock(&g->lock);
    g->stats.failed[f]++;
    pthread_mutex_unlock(&g->lock);
}

LedgeStatus ledge__served_guest_unfit(LedgeServedGuest *g, const LedgeError *why, LedgeError *err)
{
    count(g, LEDGE_GUEST_FAILED_ANSWER);
    return ledge__fail(err, LEDGE_ERROR_RUNTIME, why->where,
                       "what the guest made of the request does not fit: %s", why->message);
}

/* ---- instances ---- */

/* Calls an export and gives its result. What ends the guest, and what it makes of a call, is told
 * here. */
static LedgeStatus call(LedgeServedGuest *g, LedgeGuest *instance, const char *name,
                        uint32_t argument, LedgeError *err, uint32_t *out)
{
    LedgeGuestResult r;
    uint64_t value[1] = {argument};
    LEDGE_TRY(ledge__guest_call(instance, name, value, 1, err, &r));
    *out = (uint32_t)value[0];
    if (r.end == LEDGE_GUEST_RETURNED)
        return LEDGE_OK;
    const bool exited = r.end == LEDGE_GUEST_EXITED;
    count(g, exited                                       ? LEDGE_GUEST_FAILED_EXIT
             : r.time_over                                ? LEDGE_GUEST_FAILED_TIME
             : ledge__guest_counts(instance).grow_refused ? LEDGE_GUEST_FAILED_MEMORY
                                                          : LEDGE_GUEST_FAILED_TRAP);
    if (exited)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, name, "the guest ended itself with %u",
                           r.code);
    return ledge__fail(err, LEDGE_ERROR_RUNTIME, name, "%s", r.sentence);
}

static LedgeStatus new_instance(LedgeServedGuest *g, LedgeError *err, LedgeGuest **out)
{
    LedgeGuest *made = NULL;
    uint32_t ignored;
    LEDGE_TRY(ledge__guest_new(g->module, &g->how, err, &made));
    pthread_mutex_lock(&g->lock);
    g->stats.instances++;
    pthread_mutex_unlock(&g->lock);
    const LedgeStatus s = ledge__guest_signature(g->module, "_initialize")
                              ? call(g, made, "_initialize", 0, err, &ignored)
                              : LEDGE_OK;
    if (s != LEDGE_OK)
        ledge__guest_free(made);
    else
        *out = made;
    return s;
}

static LedgeStatus take(LedgeServedGuest *g, LedgeError *err, LedgeGuest **out)
{
    pthread_mutex_lock(&g->lock);
    Idle *i = g->idle;
    if (i)
        g->idle = i->next;
    pthread_mutex_unlock(&g->lock);
    if (!i)
        return new_instance(g, err, out);
    *out = i->guest;
    free(i);
    return LEDGE_OK;
}

static void give_back(LedgeServedGuest *g, LedgeGuest *instance)
{
    Idle *i = malloc(sizeof *i);
    if (!i) {
        ledge__guest_free(instance);
        return;
    }
    pthread_mutex_lock(&g->lock);
    *i = (Idle){g->idle, instance};
    g->idle = i;
    pthread_mutex_unlock(&g->lock);
}

/* ---- loading ---- */

/* Where the guest is; false: there is none. */
static bool find(const LedgeGuestSettings *s, const char *model_path, char *out, size_t room)
{
    if (s->path[0] || !s->beside) {
        snprintf(out, room, "%s", s->path);
        return s->path[0] != '\0';
    }
    /* An agent links the file that runs; its folder is where the link leads to. */
    char *real = realpath(model_path, NULL), *slash = real ? strrchr(real, '/') : NULL;
    const int n = slash ? snprintf(out, room, "%.*s/guest.lwm", (int)(slash - real), real) : -1;
    free(real);
    return n > 0 && (size_t)n < room && access(out, F_OK) == 0;
}

static LedgeStatus check_export(const LedgeServedGuest *g, const char *name, const char *wanted,
                                LedgeError *err)
{
    const char *is = ledge__guest_signature(g->module, name);
    if (!is)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, g->path,
                           "exports no function '%s', which a guest that is served must have",
                           name);
    if (strcmp(is, wanted) != 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, g->path,
                           "exports '%s' with the signature %s; a guest that is served has it with "
                           "%s",
                           name, is, wanted);
    return LEDGE_OK;
}

static LedgeStatus check_exports(LedgeServedGuest *g, LedgeError *err)
{
    LEDGE_TRY(check_export(g, "ledge_alloc", "i:i", err));
    LEDGE_TRY(check_export(g, "ledge_free", "i:", err));
    bool some = false;
    for (int i = 0; i < LEDGE_GUEST_STAGES; i++)
        if (ledge__guest_signature(g->module, exports[i])) {
            LEDGE_TRY(check_export(g, exports[i], "i:i", err));
            g->stage[i] = some = true;
        }
    return some ? LEDGE_OK
                : ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, g->path,
                              "exports neither 'ledge_preprocess' nor 'ledge_postprocess'; a guest "
                              "that is served has one of them or both");
}

static LedgeStatus open_module(LedgeServedGuest *g, const LedgeGuestSettings *s, LedgeError *err)
{
    LedgeKey *key = NULL;
    if (s->key[0])
        LEDGE_TRY(ledge__key_load(s->key, err, &key));
    const LedgeStatus status =
        ledge__guest_open(g->path, (const LedgeKey *const *)&key, key != NULL, err, &g->module);
    ledge__key_free(key);
    LEDGE_TRY(status);
    const LwmFile *f = ledge__guest_file(g->module);
    LEDGE_TRY(ledge__sha256_of(f->bytes, f->size, g->hash));
    return check_exports(g, err);
}

static void set_limits(LedgeServedGuest *g, const LedgeGuestSettings *s)
{
    static const char *const args[] = {"guest"};
    const uint32_t pages = s->pages ? s->pages : 1024;
    g->how =
        (LedgeGuestOptions){.args = args,
                            .n_args = 1,
                            .most_pages = pages,
                            .time_ns = (uint64_t)((s->time > 0 ? s->time : 1) * 1e9),
                            .cpu_ns = (uint64_t)(s->fuel * 1e9),
                            .no_stdin = true,
                            .no_stdout = true,
                            .pages_option = "\"pages\" of \"guest\" (--guest-pages)",
                            .nn = {.threads = 1, .limits = {.host_bytes = (uint64_t)pages << 16}}};
}

LedgeStatus ledge__served_guest_load(const LedgeGuestSettings *settings, const char *model_path,
                                     LedgeError *err, LedgeServedGuest **out)
{
    char path[sizeof(*out)->path];
    LedgeGuest *first = NULL;
    *out = NULL;
    if (!find(settings, model_path, path, sizeof path))
        return LEDGE_OK;
    LedgeServedGuest *g = calloc(1, sizeof *g);
    if (!g || pthread_mutex_init(&g->lock, NULL) != 0) {
        free(g);
        return ledge__no_memory(err);
    }
    strcpy(g->path, path);
    set_limits(g, settings);
    LedgeStatus s = open_module(g, settings, err);
    if (s == LEDGE_OK)
        s = new_instance(g, err, &first);
    if (s != LEDGE_OK) {
        ledge__served_guest_free(g);
        return s;
    }
    give_back(g, first);
    *out = g;
    return LEDGE_OK;
}

void ledge__served_guest_free(LedgeServedGuest *g)
{
    if (!g)
        return;
    while (g->idle) {
        Idle *i = g->idle;
        g->idle = i->next;
        ledge__guest_free(i->guest);
        free(i);
    }
    ledge__guest_close(g->module);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* ---- calling ---- */

/* An address of 0 where one was wanted. */
static LedgeStatus nothing(LedgeServedGuest *g, LedgeGuest *instance, const char *name,
                           LedgeError *err)
{
    char more[200] = "";
    const bool memory = ledge__guest_counts(instance).grow_refused;
    if (memory)
        ledge__guest_tell_memory(instance, more, sizeof more);
    count(g, memory ? LEDGE_GUEST_FAILED_MEMORY : LEDGE_GUEST_FAILED_ANSWER);
    return ledge__fail(err, LEDGE_ERROR_RUNTIME, name, "the guest gave nothing%s%s",
                       memory ? "; " : "", more);
}

static LedgeStatus put_request(LedgeServedGuest *g, LedgeGuest *instance, const LedgeGuestAsk *ask,
                               LedgeError *err, uint32_t *address)
{
    const uint64_t size = ledge__guest_wire_size(ask);
    if (size > (uint64_t)g->how.most_pages << 16)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "request",
                           "takes %llu bytes, the guest's memory has %u pages of 64 KiB at most",
                           (unsigned long long)size, g->how.most_pages);
    LEDGE_TRY(call(g, instance, "ledge_alloc", (uint32_t)size, err, address));
    if (!*address)
        return nothing(g, instance, "ledge_alloc", err);
    uint8_t *to = ledge__guest_at(instance, *address, size);
    if (!to) {
        count(g, LEDGE_GUEST_FAILED_ANSWER);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "ledge_alloc",
                           "the guest gave memory that it does not have");
    }
    ledge__guest_wire_put(ask, to, *address);
    return LEDGE_OK;
}

/* *whole: the instance can be used again. */
static LedgeStatus work(LedgeServedGuest *g, LedgeGuest *instance, const LedgeGuestAsk *ask,
                        LedgeArena *arena, LedgeError *err, LedgeGuestSaid *out, bool *whole)
{
    uint32_t request, answer, ignored;
    const char *name = exports[ask->stage];
    LEDGE_TRY(put_request(g, instance, ask, err, &request));
    LEDGE_TRY(call(g, instance, name, request, err, &answer));
    if (!answer)
        return nothing(g, instance, name, err);
    LedgeGuestMemory memory;
    memory.p = ledge__guest_memory(instance, &memory.n);
    LedgeStatus s = ledge__guest_wire_get(memory, answer, ask->stage, arena, err, out);
    if (s == LEDGE_ERROR_ARGUMENT) {
        count(g, LEDGE_GUEST_FAILED_REFUSED);
    } else if (s != LEDGE_OK && s != LEDGE_ERROR_MEMORY) {
        count(g, LEDGE_GUEST_FAILED_ANSWER);
        s = LEDGE_ERROR_RUNTIME; /* whatever is wrong with it, the client is not at fault */
    }
    LedgeError later;
    *whole = s != LEDGE_ERROR_RUNTIME &&
             call(g, instance, "ledge_free", request, &later, &ignored) == LEDGE_OK;
    return s;
}

LedgeStatus ledge__served_guest_call(LedgeServedGuest *g, const LedgeGuestAsk *ask,
                                     LedgeArena *arena, double *seconds, LedgeError *err,
                                     LedgeGuestSaid *out)
{
    LedgeGuest *instance = NULL;
    bool whole = false;
    const double begin = ledge__now();
    LEDGE_TRY(take(g, err, &instance));
    const LedgeStatus s = work(g, instance, ask, arena, err, out, &whole);
    if (whole)
        give_back(g, instance);
    else
        ledge__guest_free(instance);
    const double took = ledge__now() - begin;
    *seconds += took;
    pthread_mutex_lock(&g->lock);
    ledge__sketch_add(&g->stats.time[ask->stage], took);
    pthread_mutex_unlock(&g->lock);
    return s;
}
