/* What a device reports, and what it is told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "fleet/protocol/release.h"
#include "fleet/registry/store_state.h"

static json_t *labels_of(const LedgePollRequest *p)
{
    json_t *o = json_object();
    for (size_t i = 0; i < p->n_labels; i++)
        (void)json_object_set_new(o, p->labels[i].key, json_string(p->labels[i].value));
    /* What a selector may also ask for. */
    if (p->arch[0] && !json_object_get(o, "arch"))
        (void)json_object_set_new(o, "arch", json_string(p->arch));
    if (p->level[0] && !json_object_get(o, "level"))
        (void)json_object_set_new(o, "level", json_string(p->level));
    return o;
}

static LedgeStatus save_device(LedgeStore *s, LedgeDevice *d, const LedgePollRequest *p,
                               LedgeError *err)
{
    json_t *labels = labels_of(p);
    char *text = labels ? json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    LedgeStatus status = text ? LEDGE_OK : ledge__no_memory(err);
    if (!status) {
        const uint64_t hash = ledge__hash64(text, strlen(text), 1);
        if (hash != d->labels_hash) {
            d->labels_hash = hash;
            json_decref(d->labels);
            d->labels = json_incref(labels);
            d->groups = ledge__fleet_groups(s, d->name, d->labels, d->set_labels);
        }
        status = ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_POLL, "itttitiiiiii", d->id, text,
                                p->arch, p->level, p->cores, p->agent, s->now,
                                p->has_skew ? p->skew_ms
                                : p->clock  ? (s->now - p->clock) * 1000
                                            : 0,
                                p->queue_records, p->queue_dropped, p->disk_free, p->uptime_s);
    }
    free(text);
    json_decref(labels);
    return status;
}

static LedgeStatus save_models(LedgeStore *s, LedgeDevice *d, const LedgePollRequest *p,
                               LedgeError *err)
{
    uint64_t hash = p->n_models;
    for (size_t i = 0; i < p->n_models; i++) {
        const LedgePollModel *m = &p->models[i];
        hash = ledge__hash64(m->name, strlen(m->name), hash);
        hash = ledge__hash64(m->version, strlen(m->version), hash);
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_MODEL_SET, "ittttiiiiiiii", d->id,
                                 m->name, m->version, ledge__fleet_state_name(m->state), m->reason,
                                 m->since_s, m->window.count, m->window.errors, m->window.p90_us,
                                 (int64_t)m->window.drift, m->window.shadow_count,
                                 m->window.shadow_agree, s->now));
    }
    if ((int64_t)hash == d->models_hash)
        return LEDGE_OK;
    d->models_hash = (int64_t)hash;
    return ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_MODELS_GONE, "ii", d->id, s->now);
}

/* Models that it has and is to run no longer. */
static void retire(const LedgePollRequest *p, LedgePollAnswer *out)
{
    for (size_t i = 0; i < p->n_models; i++) {
        bool wanted = false;
        for (size_t k = 0; k < out->n_models; k++)
            wanted |= strcmp(out->models[k].name, p->models[i].name) == 0 ||
                      strcmp(out->models[k].fallback_name, p->models[i].name) == 0;
        if (wanted || out->n_retire == LEDGE_FLEET_MODELS)
            continue;
        LedgeRetired *r = &out->retire[out->n_retire++];
        snprintf(r->name, sizeof r->name, "%s", p->models[i].name);
        snprintf(r->version, sizeof r->version, "%s", p->models[i].version);
    }
}

/* Of all but time and tag themselves. */
static LedgeStatus tag(LedgePollAnswer *out, LedgeError *err)
{
    char *text = NULL;
    size_t n = 0;
    out->time = 0;
    out->etag[0] = '\0';
    FILE *to = open_memstream(&text, &n);
    if (!to)
        return ledge__no_memory(err);
    ledge__poll_answer_write(out, to);
    const bool bad = ferror(to);
    if (fclose(to) || bad) {
        free(text);
        return ledge__no_memory(err);
    }
    snprintf(out->etag, sizeof out->etag, "%016" PRIx64, ledge__hash64(text, n, 0));
    free(text);
    return LEDGE_OK;
}

LedgeStatus ledge__store_poll(LedgeStore *s, const LedgePollRequest *poll, bool may_enroll,
                              LedgeError *err, LedgePollAnswer *out)
{
    LedgeDevice *d;
    *out = (LedgePollAnswer){.interval_s = s->options.interval_s};
    LEDGE_TRY(ledge__fleet_device(s, poll->device_id, may_enroll, err, &d));
    LEDGE_TRY(save_device(s, d, poll, err));
    LEDGE_TRY(save_models(s, d, poll, err));
    ledge__fleet_assign(s, d->name, d->groups, out);
    retire(poll, out);
    LEDGE_TRY(tag(out, err));
    out->time = s->now;
    return LEDGE_OK;
}

/* ---- the old clients ---- */

LedgeStatus ledge__store_latest(LedgeStore *s, const char *device, const char *model,
                                bool may_enroll, const char *base, LedgeError *err, json_t **out)
{
    LedgeDevice *d;
    LedgePollAnswer answer = {0};
    json_t *file = NULL;
    char url[600];
    LEDGE_TRY(ledge__fleet_device(s, device, may_enroll, err, &d));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_SEEN, "ii", d->id, s->now));
    ledge__fleet_assign(s, d->name, d->groups, &answer);
    for (size_t i = 0; i < answer.n_models && !file; i++) {
        const LedgeAssignment *m = &answer.models[i];
        if (m->shadow || (model && strcmp(model, m->name) != 0))
            continue;
        LEDGE_TRY(ledge__sql_one(s->db, err, &file, LEDGE_Q_FILE_MODEL, "tt", m->name, m->version));
        if (!file)
            continue;
        const char *hash = ledge__member_text(file, "sha256");
        snprintf(url, sizeof url, "%s/v1/blobs/%s", base, hash);
        *out = json_pack("{s:s, s:s, s:s, s:s}", "model_id", m->name, "version", m->version,
                         "download_url", url, "sha256", hash);
        json_decref(file);
        return *out ? LEDGE_OK : ledge__no_memory(err);
    }
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, device, "no model is assigned to this device");
}
