/* The models of a turn: what slot.h decides is carried out here, step by step, each of which leaves
 * the folder in a state that the next process can go on from. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "fleet/agent/dispatch.h"
#include "fleet/agent/self_test.h"
#include "fleet/agent/sync_turn.h"

enum { STEPS = 8, RESERVE = 8 << 20 };
#define MILLION 1000000

typedef struct Work {
    LedgeTurn *t;
    const LedgeAssignment *a;      /* NULL: none */
    const LedgeAssignment *shadow; /* of the same model; NULL: none */
    bool in_shadow;                /* it is `shadow` that is worked on, and a is it */
    LedgeSlot slot;
    LedgeSlotFacts facts;
    LedgeRelease *release; /* of the wanted version; NULL: unknown */
    char *json;            /* its text */
    size_t json_size;
    LedgeInstallPlan plan;
    char unknown[LEDGE_FLEET_REASON];
} Work;

static void tell(Work *w, const char *kind, const char *severity, const char *version,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void tell(Work *w, const char *kind, const char *severity, const char *version,
                 const char *fmt, ...)
{
    LedgeFleetNote n = {0};
    va_list ap;
    snprintf(n.kind, sizeof n.kind, "%s", kind);
    snprintf(n.severity, sizeof n.severity, "%s", severity);
    snprintf(n.model, sizeof n.model, "%s", w->slot.name);
    snprintf(n.version, sizeof n.version, "%s", version);
    va_start(ap, fmt);
    vsnprintf(n.message, sizeof n.message, fmt, ap);
    va_end(ap);
    /* What cannot be told must not keep the device from its model. */
    (void)!ledge__dispatch_event(&w->t->dir, &n, NULL);
}

static LedgeStatus save(Work *w, LedgeError *err)
{
    return ledge__agent_save_slot(&w->t->dir, &w->slot, err);
}

/* What the next poll says of the version that is wanted. Saved only when it says another thing. */
static LedgeStatus report(Work *w, LedgeFleetState state, const char *reason, LedgeError *err)
{
    LedgeSlot *s = &w->slot;
    const char *version = w->a ? w->a->version : "";
    if (strcmp(s->candidate, version) == 0 && s->candidate_state == state &&
        strncmp(s->candidate_reason, reason, sizeof s->candidate_reason - 1) == 0)
        return LEDGE_OK;
    if (state == LEDGE_FLEET_FAILED && version[0])
        tell(w, "refused", "warning", version, "%s", reason);
    snprintf(s->candidate, sizeof s->candidate, "%s", version);
    snprintf(s->candidate_reason, sizeof s->candidate_reason, "%s", reason);
    s->candidate_state = state;
    return save(w, err);
}

static LedgeStatus report_none(Work *w, LedgeError *err)
{
    if (!w->slot.candidate[0] || (w->shadow && !w->in_shadow)) /* the shadow reports */
        return LEDGE_OK;
    w->slot.candidate[0] = w->slot.candidate_reason[0] = '\0';
    return save(w, err);
}

/* ---- what is so ---- */

static LedgeDownload downloads(const LedgeTurn *t, char folder[LEDGE_AGENT_PATH])
{
    ledge__agent_path(&t->dir, folder, "blobs");
    return (LedgeDownload){.http = t->http,
                           .folder = folder,
                           .tries = t->config->download_tries,
                           .wait_ms = t->config->download_wait_ms,
                           .stop = t->config->stop};
}

/* release.json of a target, from the disk or the registry, checked against what was signed. */
static LedgeStatus fetch_release(Work *w, const LedgeTufFile *file, LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH], name[128];
    LedgeReleaseFile f = {.length = file->length};
    const LedgeDownload d = downloads(w->t, folder);
    const LedgeSlotVersion v = w->facts.wanted;
    if (file->length > (int64_t)LEDGE_FLEET_RELEASE_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, w->a->release, "is larger than %zu bytes",
                           LEDGE_FLEET_RELEASE_MAX);
    LedgeRelease *r;
    if (ledge__install_release(&w->t->dir, w->slot.name, &v, NULL, &r, &w->json, &w->json_size) ==
        LEDGE_OK) {
        ledge__release_free(r);
        return LEDGE_OK;
    }
    strcpy(f.sha256, file->sha256);
    snprintf(f.path, sizeof f.path, "release.json");
    LEDGE_TRY(ledge__download(&d, &f, err));
    snprintf(name, sizeof name, "blobs/%s", f.sha256);
    return ledge__agent_read(&w->t->dir, name, LEDGE_FLEET_RELEASE_MAX, err, &w->json,
                             &w->json_size);
}

static LedgeStatus know_wanted(Work *w, LedgeError *err)
{
    const LedgeAssignment *a = w->a;
    char path[LEDGE_FLEET_PATH];
    LedgeTufFile file;
    ledge__release_target(a->name, a->version, path);
    if (strcmp(path, a->release) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, a->release,
                           "is not where the release of %s %s is", a->name, a->version);
    LEDGE_TRY(ledge__tuf_target(w->t->tuf, path, err, &file, &w->facts.rollback_ok));
    LedgeSlotVersion *v = &w->facts.wanted;
    strcpy(v->version, a->version);
    strcpy(v->sha256, file.sha256);
    LedgeStatus status = fetch_release(w, &file, err);
    if (!status)
        status = ledge__tuf_release(w->t->tuf, a->name, a->version, w->json, w->json_size, err,
                                    &w->release);
    if (!status)
        status = ledge__install_plan(w->release, w->t->arch, w->t->cpu, err, &w->plan);
    if (status)
        v->version[0] = '\0';
    else
        v->created = w->release->created;
    return status;
}

/* Whether version v is on the disk as it was signed. */
static bool is_whole(const Work *w, const LedgeSlotVersion *v)
{
    LedgeRelease *r;
    LedgeInstallPlan plan;
    LedgeError err;
    if (!v->version[0] || ledge__install_release(&w->t->dir, w->slot.name, v, &err, &r, NULL, NULL))
        return false;
    LedgeStatus status = ledge__install_plan(r, w->t->arch, w->t->cpu, &err, &plan);
    if (!status)
        status = ledge__install_check(&w->t->dir, r, &plan, v->sha256, &err);
    ledge__release_free(r);
    return status == LEDGE_OK;
}

/* The running version needs signed metadata only where another one is wanted. */
static bool wants_another(const Work *w)
{
    return w->a && (w->slot.is_fallback || strcmp(w->a->version, w->slot.running.version) != 0);
}

static void look(Work *w)
{
    LedgeSlotFacts *f = &w->facts;
    LedgeError err = {0};
    struct tm tm;
    const time_t now = time(NULL);
    *f = (LedgeSlotFacts){.is_idle = w->t->is_idle};
    if (localtime_r(&now, &tm))
        f->minute = tm.tm_hour * 60 + tm.tm_min;
    if ((w->t->verify || w->t->fall_back) && !w->in_shadow) {
        f->running_is_damaged = w->slot.running.version[0] && !is_whole(w, &w->slot.running);
        for (size_t i = 0; i < w->slot.n_kept; i++)
            f->kept_is_whole[i] = is_whole(w, &w->slot.kept[i]);
    }
    if (!w->a || !(wants_another(w) || w->t->verify))
        return;
    if (!ledge__turn_trust(w->t))
        snprintf(w->unknown, sizeof w->unknown, "%s", w->t->tuf_problem);
    else if (know_wanted(w, &err))
        snprintf(w->unknown, sizeof w->unknown, "%.60s: %.180s", err.where, err.message);
    f->unknown = w->unknown;
    f->is_whole = f->wanted.version[0] && is_whole(w, &f->wanted);
}

/* ---- room ---- */

static bool has_room(const LedgeTurn *t, int64_t more)
{
    char path[LEDGE_AGENT_PATH];
    struct statvfs disk;
    ledge__agent_path(&t->dir, path, "versions");
    int64_t used = ledge__agent_bytes(path);
    ledge__agent_path(&t->dir, path, "blobs");
    used += ledge__agent_bytes(path);
    if (t->config->quota && used + more > t->config->quota)
        return false;
    return statvfs(t->dir.path, &disk) != 0 ||
           (int64_t)disk.f_bavail * (int64_t)disk.f_frsize >= more + RESERVE;
}

static LedgeStatus drop_kept(Work *w, size_t keep, bool *dropped, LedgeError *err)
{
    const size_t i = ledge__slot_excess(&w->slot, keep, w->a ? w->a->fallback_version : "");
    *dropped = i < w->slot.n_kept;
    if (!*dropped)
        return LEDGE_OK;
    char version[LEDGE_FLEET_NAME];
    strcpy(version, w->slot.kept[i].version);
    ledge__slot_forget(&w->slot, i);
    LEDGE_TRY(save(w, err)); /* nobody counts on it any more … */
    return ledge__install_remove(&w->t->dir, w->slot.name, version, err); /* … when it goes */
}

static LedgeStatus make_room(Work *w, int64_t more, LedgeError *err)
{
    bool dropped = true;
    while (dropped && !has_room(w->t, more))
        LEDGE_TRY(drop_kept(w, 0, &dropped, err));
    return dropped || has_room(w->t, more)
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_LIMIT, w->slot.name,
                             "%lld bytes more do not fit into the quota or onto the disk",
                             (long long)more);
}

/* ---- steps ---- */

static LedgeStatus fetch(Work *w, LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH], blob[LEDGE_AGENT_PATH];
    const LedgeDownload d = downloads(w->t, folder);
    LEDGE_TRY(report(w, LEDGE_FLEET_DOWNLOADING, "", err));
    LEDGE_TRY(
        make_room(w, w->plan.bytes - ledge__install_has(&w->t->dir, w->release, &w->plan), err));
    LEDGE_TRY(ledge__install_fetch(&w->t->dir, &d, w->release, &w->plan, err));
    LEDGE_TRY(ledge__install_unpack(&w->t->dir, w->release, &w->plan, w->json, w->json_size, err));
    ledge__agent_path(&w->t->dir, blob, "blobs/%s", w->facts.wanted.sha256);
    (void)unlink(blob);
    w->facts.is_whole = true;
    return LEDGE_OK;
}

static int64_t ratio_of(int64_t value, int64_t ratio)
{
    return ratio ? (int64_t)((double)value * ((double)ratio / MILLION)) : 0;
}

static int64_t stricter(int64_t a, int64_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

/* The ceilings of a release, with those that are relative to what runs. */
static LedgeStatus limits_of(Work *w, LedgeSelfTestLimits *out, LedgeError *err)
{
    const LedgeRelease *new = w->release;
    LedgeRelease *old = NULL;
    LedgeInstallPlan plan;
    char folder[LEDGE_AGENT_PATH];
    LedgeSelfTest t = {0};
    *out = (LedgeSelfTestLimits){.latency_us = new->max_latency_us, .memory = new->max_memory};
    if ((!new->max_latency_ratio && !new->max_memory_ratio) || !w->slot.running.version[0] ||
        ledge__install_release(&w->t->dir, w->slot.name, &w->slot.running, NULL, &old, NULL, NULL))
        return LEDGE_OK;
    LedgeStatus status = LEDGE_OK;
    if (ledge__install_plan(old, w->t->arch, w->t->cpu, NULL, &plan) == LEDGE_OK) {
        ledge__agent_path(&w->t->dir, folder, "versions/%s/%s", w->slot.name, old->version);
        status = ledge__self_test(folder, old, plan.model, &(LedgeSelfTestLimits){0}, err, &t);
    }
    if (!status && t.passed) {
        out->latency_us = stricter(out->latency_us, ratio_of(t.latency_us, new->max_latency_ratio));
        out->memory = stricter(out->memory, ratio_of(t.memory, new->max_memory_ratio));
    }
    ledge__release_free(old);
    return status;
}

static LedgeStatus test(Work *w, LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH];
    const LedgeSlotVersion *v = &w->facts.wanted;
    LedgeSelfTestLimits limits;
    LedgeSelfTest result = {0};
    ledge__slot_testing(&w->slot, v);
    LEDGE_TRY(report(w, LEDGE_FLEET_TESTING, "", err));
    LEDGE_TRY(save(w, err));
    LEDGE_TRY(limits_of(w, &limits, err));
    ledge__agent_path(&w->t->dir, folder, "versions/%s/%s", w->slot.name, v->version);
    LEDGE_TRY(ledge__self_test(folder, w->release, w->plan.model, &limits, err, &result));
    if (result.passed) {
        ledge__slot_passed(&w->slot, v);
    } else {
        ledge__slot_failed(&w->slot, v, result.reason);
        tell(w, "self_test_failed", "high", v->version, "%s", result.reason);
    }
    return save(w, err);
}

/* The slot says what runs; the link follows. */
static LedgeStatus point(Work *w, const LedgeRelease *r, LedgeError *err)
{
    LedgeInstallPlan plan;
    bool changed;
    LEDGE_TRY(ledge__install_plan(r, w->t->arch, w->t->cpu, err, &plan));
    LEDGE_TRY(ledge__agent_link(&w->t->dir, "serve", w->slot.name, r->version,
                                r->files[plan.model].path, err, &changed));
    w->t->result.changed = w->t->result.changed || changed;
    return LEDGE_OK;
}

static LedgeStatus point_at_running(Work *w, LedgeError *err)
{
    LedgeRelease *r;
    LedgeError problem = {0};
    if (!w->slot.running.version[0] ||
        ledge__install_release(&w->t->dir, w->slot.name, &w->slot.running, &problem, &r, NULL,
                               NULL))
        return LEDGE_OK; /* nothing to point at; mending is another step */
    LedgeStatus status = point(w, r, err);
    ledge__release_free(r);
    return status;
}

static LedgeStatus switch_to(Work *w, LedgeError *err)
{
    char before[LEDGE_FLEET_NAME];
    bool dropped = true;
    strcpy(before, w->slot.running.version);
    ledge__slot_switched(&w->slot, &w->facts.wanted, time(NULL));
    w->slot.candidate[0] = w->slot.candidate_reason[0] = '\0';
    /* Told before it is so: who is killed in between tells it twice, and never not at all. */
    if (before[0])
        tell(w, "switched", "info", w->slot.running.version, "from version %s", before);
    else
        tell(w, "started", "info", w->slot.running.version, "the first version here");
    LEDGE_TRY(save(w, err));
    LEDGE_TRY(point(w, w->release, err));
    while (dropped)
        LEDGE_TRY(drop_kept(w, (size_t)w->t->config->keep, &dropped, err));
    return LEDGE_OK;
}

static LedgeStatus fall_back(Work *w, const LedgeSlotDecision *d, bool damaged, LedgeError *err)
{
    char before[LEDGE_FLEET_NAME];
    strcpy(before, w->slot.running.version);
    ledge__slot_fell_back(&w->slot, d->index, damaged, d->reason, time(NULL));
    if (damaged)
        tell(w, "damaged", "high", before, "%s", d->reason);
    tell(w, "fell_back", "high", w->slot.running.version, "from version %s: %s", before, d->reason);
    LEDGE_TRY(save(w, err));
    return point_at_running(w, err);
}

/* The running version's files, anew; they were signed when it was installed. */
static LedgeStatus repair(Work *w, LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH], *json = NULL;
    size_t size = 0;
    LedgeRelease *r = NULL;
    LedgeInstallPlan plan;
    const LedgeDownload d = downloads(w->t, folder);
    const LedgeSlotVersion *v = &w->slot.running;
    LedgeStatus status = ledge__install_release(&w->t->dir, w->slot.name, v, err, &r, &json, &size);
    if (status && w->release && ledge__slot_version_equal(&w->facts.wanted, v)) {
        /* Its own release.json is damaged, and the signed one is at hand. */
        json = malloc(w->json_size + 1);
        size = w->json_size;
        status = json ? ledge__release_read(w->json, size, err, &r) : ledge__no_memory(err);
        if (json)
            memcpy(json, w->json, size);
    }
    if (!status)
        status = ledge__install_plan(r, w->t->arch, w->t->cpu, err, &plan);
    if (!status)
        status = ledge__install_fetch(&w->t->dir, &d, r, &plan, err);
    if (!status) {
        tell(w, "damaged", "warning", v->version, "files were damaged and are mended");
        status = ledge__install_repair(&w->t->dir, r, &plan, json, size, err);
    }
    if (!status) {
        w->facts.running_is_damaged = false;
        w->t->result.changed = true;
    }
    ledge__release_free(r);
    free(json);
    return status;
}

/* ---- one model ---- */

/* Strictly this version or none: another one is not served when it is refused. */
static LedgeStatus be_strict(Work *w, LedgeError *err)
{
    bool changed;
    if (!w->a || !w->a->strict || strcmp(w->a->version, w->slot.running.version) == 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__agent_unlink(&w->t->dir, "serve", w->slot.name, err, &changed));
    w->t->result.changed = w->t->result.changed || changed;
    return LEDGE_OK;
}

/* A version that passed runs beside the one that serves, and answers nobody. */
static LedgeStatus cast_shadow(Work *w, LedgeError *err)
{
    char reason[LEDGE_FLEET_REASON];
    LEDGE_TRY(ledge__agent_link(&w->t->dir, "shadow", w->slot.name, w->release->version,
                                w->release->files[w->plan.model].path, err, NULL));
    snprintf(reason, sizeof reason, "runs in the shadow of version %s", w->slot.running.version);
    return report(w, LEDGE_FLEET_TESTING, reason, err);
}

static LedgeStatus end_shadow(Work *w, LedgeError *err)
{
    bool changed;
    return ledge__agent_unlink(&w->t->dir, "shadow", w->slot.name, err, &changed);
}

/* false: nothing more to do for now. */
static bool step(Work *w, LedgeStatus *status, LedgeError *err)
{
    const LedgeSlotDecision d = ledge__slot_decide(&w->slot, w->a, &w->facts);
    switch (d.action) {
    case LEDGE_SLOT_NOTHING:
        *status = report_none(w, err);
        return false;
    case LEDGE_SLOT_WAIT:
        *status =
            w->in_shadow ? cast_shadow(w, err) : report(w, LEDGE_FLEET_TESTING, d.reason, err);
        return false;
    case LEDGE_SLOT_REFUSE:
        *status = report(w, LEDGE_FLEET_FAILED, d.reason, err);
        if (!*status && w->in_shadow)
            *status = end_shadow(w, err);
        else if (!*status)
            *status = be_strict(w, err);
        return false;
    case LEDGE_SLOT_FETCH:
        *status = fetch(w, err);
        break;
    case LEDGE_SLOT_TEST:
        *status = test(w, err);
        break;
    case LEDGE_SLOT_SWITCH:
        *status = w->in_shadow ? cast_shadow(w, err) : switch_to(w, err);
        if (w->in_shadow)
            return false;
        break;
    case LEDGE_SLOT_REPAIR:
        *status = repair(w, err);
        break;
    case LEDGE_SLOT_FALL_BACK:
        *status = fall_back(w, &d, true, err);
        w->facts.running_is_damaged = false;
        break;
    }
    return *status == LEDGE_OK;
}

/* What runs crashes or does not come up: the newest version that is whole takes over. */
static LedgeStatus forced_fall_back(Work *w, LedgeError *err)
{
    for (size_t i = 0; i < w->slot.n_kept; i++) {
        const LedgeSlotTried *t = ledge__slot_tried(&w->slot, &w->slot.kept[i]);
        if (!w->facts.kept_is_whole[i] || (t && t->has_failed))
            continue;
        LedgeSlotDecision d = {.action = LEDGE_SLOT_FALL_BACK, .index = i};
        snprintf(d.reason, sizeof d.reason, "%s", w->t->fall_back);
        return fall_back(w, &d, w->facts.running_is_damaged, err);
    }
    return LEDGE_OK;
}

static LedgeStatus retire(Work *w, LedgeError *err)
{
    for (size_t i = 0; i < w->t->answer.n_retire; i++) {
        const LedgeRetired *r = &w->t->answer.retire[i];
        for (size_t k = 0; strcmp(r->name, w->slot.name) == 0 && k < w->slot.n_kept; k++)
            if (strcmp(w->slot.kept[k].version, r->version) == 0) {
                ledge__slot_forget(&w->slot, k);
                LEDGE_TRY(save(w, err));
                LEDGE_TRY(ledge__install_remove(&w->t->dir, w->slot.name, r->version, err));
                break;
            }
    }
    return LEDGE_OK;
}

static LedgeStatus run_steps(Work *w, LedgeError *err)
{
    LedgeStatus status = LEDGE_OK;
    LedgeError problem = {0};
    if (w->t->fall_back && w->slot.running.version[0] && !w->in_shadow)
        LEDGE_TRY(forced_fall_back(w, err));
    for (int i = 0; i < STEPS && step(w, &status, &problem); i++)
        ;
    if (!status)
        return w->in_shadow ? LEDGE_OK : retire(w, err);
    /* A failure of one model is reported and leaves the others alone. */
    ledge__turn_problem(w->t, problem.where, problem.message);
    if (status == LEDGE_ERROR_MEMORY)
        return ledge__no_memory(err);
    char reason[LEDGE_FLEET_REASON];
    snprintf(reason, sizeof reason, "%.60s: %.180s", problem.where, problem.message);
    return report(w, status == LEDGE_ERROR_IO ? LEDGE_FLEET_DOWNLOADING : LEDGE_FLEET_FAILED,
                  reason, err);
}

/* Which downloads are to stay; the release goes to the turn. */
static void note_wanted(Work *w)
{
    LedgeTurn *t = w->t;
    if (w->facts.running_is_damaged || w->unknown[0] || t->n_wanted == 2 * LEDGE_FLEET_MODELS) {
        t->wants_unknown = true;
    } else if (w->release) {
        LedgeInstallWanted *to = &t->wanted[t->n_wanted++];
        to->release = w->release;
        strcpy(to->sha256, w->facts.wanted.sha256);
        w->release = NULL;
    }
}

/* The model's own assignment, or its shadow. */
static LedgeStatus work_on(LedgeTurn *t, const char *name, const LedgeAssignment *a,
                           const LedgeAssignment *shadow, bool in_shadow, LedgeError *err)
{
    Work *w = calloc(1, sizeof *w);
    if (!w)
        return ledge__no_memory(err);
    w->t = t;
    w->a = in_shadow ? shadow : a;
    w->shadow = shadow;
    w->in_shadow = in_shadow;
    LedgeStatus status = ledge__agent_slot(&t->dir, name, err, &w->slot);
    if (!status && !in_shadow)
        status = point_at_running(w, err);
    if (!status && !shadow)
        status = end_shadow(w, err);
    if (!status)
        look(w);
    if (!status)
        status = run_steps(w, err);
    const char *const keep[2] = {a ? a->version : "", shadow ? shadow->version : ""};
    if (!status)
        ledge__install_sweep(&t->dir, &w->slot, keep);
    note_wanted(w);
    ledge__release_free(w->release);
    free(w->json);
    free(w);
    return status;
}

static LedgeStatus work(LedgeTurn *t, const char *name, const LedgeAssignment *a,
                        const LedgeAssignment *shadow, LedgeError *err)
{
    LEDGE_TRY(work_on(t, name, a, shadow, false, err));
    return shadow ? work_on(t, name, a, shadow, true, err) : LEDGE_OK;
}

static const LedgeAssignment *assigned(const LedgeTurn *t, const char *name, bool shadow)
{
    for (size_t i = 0; i < t->answer.n_models; i++)
        if (t->answer.models[i].shadow == shadow && strcmp(t->answer.models[i].name, name) == 0)
            return &t->answer.models[i];
    return NULL;
}

LedgeStatus ledge__turn_models(LedgeTurn *t, LedgeError *err)
{
    char names[LEDGE_FLEET_MODELS][LEDGE_FLEET_NAME];
    size_t n;
    LEDGE_TRY(ledge__agent_slots(&t->dir, err, names, LEDGE_FLEET_MODELS, &n));
    for (size_t i = 0; i < n; i++)
        LEDGE_TRY(
            work(t, names[i], assigned(t, names[i], false), assigned(t, names[i], true), err));
    for (size_t i = 0; i < t->answer.n_models; i++) {
        const LedgeAssignment *a = &t->answer.models[i];
        bool known = a->shadow;
        for (size_t k = 0; k < n; k++)
            known = known || strcmp(names[k], a->name) == 0;
        if (!known)
            LEDGE_TRY(work(t, a->name, a, assigned(t, a->name, true), err));
    }
    /* What was assigned once and is no more must not take up the quota. */
    if (!t->wants_unknown)
        ledge__install_sweep_blobs(&t->dir, t->wanted, t->n_wanted);
    return LEDGE_OK;
}
