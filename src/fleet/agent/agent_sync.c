/* A turn from beginning to end, see agent_sync.h. */
#include "fleet/agent/agent_sync.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "fleet/agent/dispatch.h"
#include "fleet/agent/sample_send.h"
#include "fleet/agent/sync_turn.h"
#include "trust/seal.h"

#if defined(__x86_64__)
#define ARCH "x86-64"
#elif defined(__aarch64__)
#define ARCH "aarch64"
#else
#define ARCH "other"
#endif

enum { STATUS_MAX = 16384, NONCE = 16, SOON_S = 2 };

void ledge__turn_problem(LedgeTurn *t, const char *where, const char *what)
{
    if (!t->result.problem[0])
        snprintf(t->result.problem, sizeof t->result.problem, "%.80s%s%.170s", where,
                 where[0] ? ": " : "", what);
}

/* ---- trust ---- */

static LedgeStatus tuf_fetch(void *context, const char *name, size_t max, LedgeError *err,
                             char **bytes, size_t *size)
{
    LedgeTurn *t = context;
    char path[160];
    LedgeHttpAnswer a;
    snprintf(path, sizeof path, "/v1/tuf/%s", name);
    const LedgeHttpAsk ask = {.path = path, .max = max};
    LEDGE_TRY(ledge__http_ask(t->http, &ask, err, &a));
    if (a.status == 200) {
        *bytes = a.body ? a.body : calloc(1, 1);
        *size = a.size;
        return *bytes ? LEDGE_OK : ledge__no_memory(err);
    }
    free(a.body);
    return ledge__fail(err, a.status == 404 ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, name,
                       "the registry answers %d", a.status);
}

static bool clock_is_synchronised(void)
{
    struct timex tx = {0};
    const int state = adjtimex(&tx);
    return state >= 0 && state != TIME_ERROR && !(tx.status & STA_UNSYNC);
}

static LedgeStatus open_tuf(LedgeTurn *t, LedgeError *err)
{
    const LedgeTufStore store = ledge__agent_tuf_store(&t->dir);
    json_t *anchor;
    char *text;
    if (t->tuf)
        return LEDGE_OK;
    LEDGE_TRY(
        ledge__envelope_load(t->config->root, ledge__tuf_role_max(LEDGE_TUF_ROOT), err, &anchor));
    text = json_dumps(anchor, JSON_COMPACT);
    json_decref(anchor);
    if (!text)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__tuf_open(&store, text, strlen(text), err, &t->tuf);
    free(text);
    return status;
}

static LedgeStatus update_tuf(LedgeTurn *t, LedgeError *err)
{
    uint8_t random[NONCE];
    char nonce[2 * NONCE + 1];
    const LedgeTufSource source = {t, tuf_fetch};
    LedgeTufClock clock = {.now = time(NULL), .is_synchronised = clock_is_synchronised()};
    if (getrandom(random, sizeof random, 0) == sizeof random) {
        ledge__hex(random, sizeof random, nonce);
        clock.nonce = nonce;
    }
    LEDGE_TRY(open_tuf(t, err));
    LedgeStatus status = ledge__tuf_update(t->tuf, &source, &clock, err);
    t->result.trusted_time = ledge__tuf_time(t->tuf);
    t->result.signed_time = ledge__tuf_time_was_signed(t->tuf);
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++)
        t->result.versions[role] = ledge__tuf_version(t->tuf, (LedgeTufRole)role);
    return status;
}

bool ledge__turn_trust(LedgeTurn *t)
{
    LedgeError err = {0};
    if (t->tuf_is_fresh || t->tuf_problem[0])
        return t->tuf_is_fresh;
    t->tuf_is_fresh = update_tuf(t, &err) == LEDGE_OK;
    if (!t->tuf_is_fresh) {
        snprintf(t->tuf_problem, sizeof t->tuf_problem, "%.60s: %.180s", err.where, err.message);
        ledge__turn_problem(t, err.where, err.message);
    }
    return t->tuf_is_fresh;
}

/* ---- who we are ---- */

static LedgeStatus identify(LedgeTurn *t, LedgeError *err)
{
    uint64_t number;
    char *text;
    size_t n;
    if (t->config->device_id) {
        if (!ledge__fleet_is_device(t->config->device_id))
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, t->config->device_id,
                               "a device id is up to 128 letters, digits, '.', '_', ':' and '-'");
        snprintf(t->device_id, sizeof t->device_id, "%s", t->config->device_id);
        return LEDGE_OK;
    }
    if (ledge__agent_read(&t->dir, "identity", LEDGE_FLEET_DEVICE, NULL, &text, &n) == LEDGE_OK) {
        text[strcspn(text, "\n")] = '\0';
        snprintf(t->device_id, sizeof t->device_id, "%s", text);
        free(text);
        if (ledge__fleet_is_device(t->device_id))
            return LEDGE_OK;
    }
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return ledge__fail(err, LEDGE_ERROR_IO, "identity", "no random numbers");
    snprintf(t->device_id, sizeof t->device_id, "device-%016" PRIx64, number);
    return ledge__agent_write(&t->dir, "identity", t->device_id, strlen(t->device_id), err);
}

/* ---- the turn ---- */

static void load_last(LedgeTurn *t)
{
    char *text;
    size_t n;
    LedgeSyncResult last = {0};
    if (ledge__agent_read(&t->dir, "status.json", STATUS_MAX, NULL, &text, &n) == LEDGE_OK) {
        if (ledge__sync_result_read(text, n, NULL, &last))
            last = (LedgeSyncResult){0};
        free(text);
    }
    t->result = (LedgeSyncResult){.retry_after = -1,
                                  .interval_s = LEDGE_FLEET_INTERVAL,
                                  .skew_ms = last.skew_ms,
                                  .has_skew = last.has_skew,
                                  .changes = last.changes,
                                  .trusted_time = last.trusted_time,
                                  .signed_time = last.signed_time,
                                  .samples_waiting = last.samples_waiting};
    memcpy(t->result.versions, last.versions, sizeof last.versions);
}

static LedgeStatus save_result(LedgeTurn *t, LedgeError *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return ledge__no_memory(err);
    ledge__sync_result_write(&t->result, to);
    LedgeStatus status = fclose(to) == 0
                             ? ledge__agent_write(&t->dir, "status.json", text, size, err)
                             : ledge__no_memory(err);
    free(text);
    return status;
}

static LedgeStatus send_telemetry(LedgeTurn *t, LedgeError *err)
{
    const LedgeDispatch o = {&t->dir, t->device_id, t->http, t->config->stop};
    LedgeDispatchResult r;
    LedgeError problem = {0};
    LedgeStatus status = ledge__dispatch_send(&o, true, &problem, &r);
    t->result.sent = (int64_t)r.sent;
    t->result.duplicates = (int64_t)r.duplicates;
    t->result.refused = (int64_t)r.refused;
    if (r.retry_after > t->result.retry_after)
        t->result.retry_after = r.retry_after;
    t->result.waiting = ledge__dispatch_waiting(&t->dir);
    if (status == LEDGE_ERROR_MEMORY)
        return ledge__no_memory(err);
    if (status)
        ledge__turn_problem(t, problem.where, problem.message);
    return LEDGE_OK;
}

/* After all else, and only where all else went well. */
static LedgeStatus send_samples(LedgeTurn *t, LedgeError *err)
{
    LedgeSealKey *key;
    LedgeSampleSent r = {0};
    LedgeError problem = {0};
    if (!t->config->sample_key || t->result.problem[0])
        return LEDGE_OK;
    LedgeStatus status = ledge__seal_key_load(t->config->sample_key, &problem, &key);
    if (!status) {
        const LedgeSampleSend o = {&t->dir, t->device_id, ledge__seal_key_id(key), t->http,
                                   t->config->stop};
        status = ledge__sample_send(&o, &problem, &r);
        ledge__seal_key_free(key);
        t->result.samples = r.sent;
        t->result.samples_waiting = r.waiting;
    }
    if (status == LEDGE_ERROR_MEMORY)
        return ledge__no_memory(err);
    if (status)
        snprintf(t->result.samples_problem, sizeof t->result.samples_problem, "%.80s: %.170s",
                 problem.where, problem.message);
    return LEDGE_OK;
}

static LedgeStatus turn(LedgeTurn *t, LedgeSyncWhat what, LedgeError *err)
{
    LEDGE_TRY(identify(t, err));
    LEDGE_TRY(ledge__http_new(&t->config->http, err, &t->http));
    ledge__turn_load_answer(t);
    t->result.interval_s = t->answer.interval_s;
    if (what != LEDGE_SYNC_TELEMETRY) {
        t->verify = what != LEDGE_SYNC_ALL;
        if (t->verify)
            ledge__agent_sweep(&t->dir);
        t->fall_back = what == LEDGE_SYNC_FALL_BACK ? "it does not stay up while serving" : NULL;
        LEDGE_TRY(ledge__turn_poll(t, err));
        LEDGE_TRY(ledge__turn_models(t, err));
        t->result.interval_s = t->answer.interval_s;
    }
    if (t->result.changed) {
        t->result.changes++;
        t->result.interval_s = SOON_S; /* the registry is told at once */
    }
    LEDGE_TRY(send_telemetry(t, err));
    return what == LEDGE_SYNC_TELEMETRY ? LEDGE_OK : send_samples(t, err);
}

LedgeStatus ledge__agent_sync(const LedgeAgentConfig *c, LedgeSyncWhat what, LedgeError *err,
                              LedgeSyncResult *out)
{
    LedgeTurn *t = calloc(1, sizeof *t);
    if (!t)
        return ledge__no_memory(err);
    t->config = c;
    t->arch = c->arch ? c->arch : ARCH;
    t->cpu = c->cpu ? c->cpu : ledge__cpu_flags();
    t->answer.interval_s = LEDGE_FLEET_INTERVAL;
    LedgeStatus status = ledge__agent_open(&t->dir, c->state, true, err);
    if (!status) {
        load_last(t);
        status = turn(t, what, err);
        t->result.time = time(NULL);
        if (t->http)
            t->result.received = ledge__http_received(t->http);
        if (status)
            ledge__turn_problem(t, err ? err->where : "", err ? err->message : "failed");
        LedgeStatus saved = save_result(t, status ? NULL : err);
        status = status ? status : saved;
    }
    *out = t->result;
    for (size_t i = 0; i < t->n_wanted; i++)
        ledge__release_free(t->wanted[i].release);
    ledge__tuf_free(t->tuf);
    ledge__http_free(t->http);
    ledge__agent_close(&t->dir);
    free(t);
    return status;
}
