/* The copies that every poll asks: groups, what they are to run, rollouts, devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "fleet/protocol/release.h"
#include "fleet/registry/store_state.h"

enum { SLOTS = 4096 };

#define COPY(to, from) snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, from)

/* ---- reading ---- */

static void drop_rules(LedgeStore *s)
{
    for (int i = 0; i < s->n_groups; i++)
        json_decref(s->groups[i].selector);
    free(s->assigned);
    free(s->rollouts);
    s->n_groups = 0;
    s->assigned = NULL;
    s->rollouts = NULL;
    s->n_assigned = s->n_rollouts = 0;
}

void ledge__fleet_forget_devices(LedgeStore *s)
{
    for (size_t i = 0; i < s->n_slots; i++)
        for (LedgeDevice *d = s->devices[i]; d; d = d->next) {
            json_decref(d->set_labels);
            json_decref(d->labels);
        }
    free(s->devices);
    s->devices = NULL;
    s->n_slots = s->n_devices = 0;
    free(s->streams);
    s->streams = NULL;
    s->n_streams = 0;
    ledge__arena_free(s->arena);
    s->arena = NULL;
}

void ledge__fleet_forget(LedgeStore *s)
{
    drop_rules(s);
    ledge__fleet_forget_devices(s);
    s->epoch = -1;
    if (s->rollups)
        memset(s->rollups, 0, s->n_rollup_slots * sizeof *s->rollups);
    s->n_rollups = 0;
}

int ledge__fleet_group_index(const LedgeStore *s, const char *name)
{
    for (int i = 0; i < s->n_groups; i++)
        if (strcmp(s->groups[i].name, name) == 0)
            return i;
    return -1;
}

static LedgeStatus load_groups(LedgeStore *s, LedgeError *err)
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_GROUPS, ""));
    for (size_t i = 0; i < json_array_size(rows) && i < LEDGE_STORE_GROUPS; i++) {
        const json_t *row = json_array_get(rows, i);
        LedgeGroup *g = &s->groups[s->n_groups++];
        COPY(g->name, ledge__member_text(row, "name"));
        g->selector = json_incref(json_object_get(row, "selector"));
        g->priority = ledge__member_int(row, "priority");
    }
    json_decref(rows);
    return LEDGE_OK;
}

static const char *alias_version(const json_t *aliases, const char *model, const char *alias)
{
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const json_t *a = json_array_get(aliases, i);
        if (strcmp(ledge__member_text(a, "model"), model) == 0 &&
            strcmp(ledge__member_text(a, "alias"), alias) == 0)
            return ledge__member_text(a, "version");
    }
    return "";
}

/* "@champion" and the like as a fallback's version is an alias too. */
static void fill_assigned(const LedgeStore *s, const json_t *row, const json_t *aliases,
                          LedgeAssigned *a)
{
    const char *fallback = ledge__member_text(row, "fallback_version");
    COPY(a->model, ledge__member_text(row, "model"));
    COPY(a->version, alias_version(aliases, a->model, ledge__member_text(row, "alias")));
    COPY(a->fallback_model, ledge__member_text(row, "fallback_model"));
    COPY(a->fallback_version,
         fallback[0] == '@' ? alias_version(aliases, a->fallback_model, fallback + 1) : fallback);
    COPY(a->moment, ledge__member_text(row, "moment"));
    a->strict = ledge__member_int(row, "strict") != 0;
    a->group = ledge__fleet_group_index(s, ledge__member_text(row, "grp"));
}

static LedgeStatus load_assigned(LedgeStore *s, LedgeError *err)
{
    json_t *rows = NULL, *aliases = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_ASSIGNMENTS, ""));
    LedgeStatus status = ledge__sql_list(s->db, err, &aliases, LEDGE_Q_ALIASES, "");
    const size_t n = json_array_size(rows);
    s->assigned = status ? NULL : calloc(n + 1, sizeof *s->assigned);
    if (!status && !s->assigned)
        status = ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++)
        fill_assigned(s, json_array_get(rows, i), aliases, &s->assigned[s->n_assigned++]);
    json_decref(rows);
    json_decref(aliases);
    return status;
}

LedgeStatus ledge__fleet_rollout(const LedgeStore *s, const json_t *row, LedgeError *err,
                                 LedgeLiveRollout *out)
{
    *out = (LedgeLiveRollout){.id = ledge__member_int(row, "id"),
                              .revision = ledge__member_int(row, "revision"),
                              .threshold = ledge__member_int(row, "threshold"),
                              .at = {.step = (int)ledge__member_int(row, "step"),
                                     .entered = ledge__member_int(row, "entered")}};
    COPY(out->model, ledge__member_text(row, "model"));
    COPY(out->from, ledge__member_text(row, "from_version"));
    COPY(out->to, ledge__member_text(row, "to_version"));
    COPY(out->at.reason, ledge__member_text(row, "reason"));
    snprintf(out->salt, sizeof out->salt, "%s/%lld", out->model, (long long)out->id);
    out->at.state = ledge__rollout_state_of(ledge__member_text(row, "state"));
    out->group = ledge__fleet_group_index(s, ledge__member_text(row, "grp"));
    LEDGE_TRY(ledge__rollout_plan_read(json_object_get(row, "plan"), err, &out->plan));
    if (out->at.step < 0 || out->at.step >= out->plan.n)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "rollout", "it has no step %d",
                           out->at.step + 1);
    return LEDGE_OK;
}

static LedgeStatus load_rollouts(LedgeStore *s, LedgeError *err)
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_ROLLOUTS_LIVE, ""));
    const size_t n = json_array_size(rows);
    LedgeStatus status = LEDGE_OK;
    s->rollouts = calloc(n + 1, sizeof *s->rollouts);
    if (!s->rollouts)
        status = ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++) {
        status = ledge__fleet_rollout(s, json_array_get(rows, i), err, &s->rollouts[i]);
        s->n_rollouts += !status;
    }
    json_decref(rows);
    return status;
}

LedgeStatus ledge__fleet_load(LedgeStore *s, LedgeError *err)
{
    int64_t epoch = 0;
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &epoch, LEDGE_Q_EPOCH_GET, ""));
    if (epoch == s->epoch)
        return LEDGE_OK;
    drop_rules(s);
    ledge__fleet_forget_devices(s);
    LEDGE_TRY(load_groups(s, err));
    LEDGE_TRY(load_assigned(s, err));
    LEDGE_TRY(load_rollouts(s, err));
    s->epoch = epoch;
    return LEDGE_OK;
}

/* ---- devices ---- */

static bool make_room(LedgeStore *s)
{
    if (!s->arena)
        s->arena = ledge__arena_new(NULL);
    if (!s->arena || (s->devices && s->n_devices < 2 * s->n_slots))
        return s->arena != NULL;
    const size_t n = s->n_slots ? 4 * s->n_slots : SLOTS;
    LedgeDevice **slots = calloc(n, sizeof *slots);
    if (!slots)
        return s->devices != NULL; /* longer chains will do */
    for (size_t i = 0; i < s->n_slots; i++)
        for (LedgeDevice *d = s->devices[i], *next; d; d = next) {
            LedgeDevice **to = &slots[ledge__hash64(d->name, strlen(d->name), 0) % n];
            next = d->next;
            d->next = *to;
            *to = d;
        }
    free(s->devices);
    s->devices = slots;
    s->n_slots = n;
    return true;
}

static LedgeStatus fetch(LedgeStore *s, const char *name, bool may_enroll, LedgeError *err,
                         json_t **out)
{
    int64_t id;
    LEDGE_TRY(ledge__sql_one(s->db, err, out, LEDGE_Q_DEVICE_GET, "t", name));
    if (*out)
        return LEDGE_OK;
    if (!may_enroll)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, name,
                           "this device is not known; give it a token with 'ledge registry token'");
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &id, LEDGE_Q_DEVICE_NEW, "ti", name, s->now));
    *out = json_pack("{s:I, s:{}, s:{}, s:s}", "id", (json_int_t)id, "labels", "set_labels",
                     "state", "active");
    return *out ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeDevice *keep(LedgeStore *s, const char *name, const json_t *row)
{
    const size_t n = strlen(name) + 1;
    LedgeDevice *d = make_room(s) ? ledge__arena_alloc(s->arena, sizeof *d + n, 1) : NULL;
    if (!d)
        return NULL;
    memcpy(d->name, name, n);
    d->id = ledge__member_int(row, "id");
    d->is_blocked = strcmp(ledge__member_text(row, "state"), "active") != 0;
    d->set_labels = json_incref(json_object_get(row, "set_labels"));
    d->labels = json_incref(json_object_get(row, "labels"));
    LedgeDevice **to = &s->devices[ledge__hash64(name, n - 1, 0) % s->n_slots];
    d->next = *to;
    *to = d;
    s->n_devices++;
    return d;
}

LedgeStatus ledge__fleet_device(LedgeStore *s, const char *name, bool may_enroll, LedgeError *err,
                                LedgeDevice **out)
{
    LedgeDevice *d = NULL;
    if (s->devices)
        d = s->devices[ledge__hash64(name, strlen(name), 0) % s->n_slots];
    while (d && strcmp(d->name, name) != 0)
        d = d->next;
    if (!d) {
        json_t *row = NULL;
        LEDGE_TRY(fetch(s, name, may_enroll, err, &row));
        d = keep(s, name, row);
        json_decref(row);
        if (!d)
            return ledge__no_memory(err);
    }
    if (d->is_blocked)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, name, "this device was blocked");
    if (!d->has_groups) {
        d->groups = ledge__fleet_groups(s, name, d->labels, d->set_labels);
        d->has_groups = true;
    }
    *out = d;
    return LEDGE_OK;
}

/* ---- groups ---- */

/* A selector's value: a text, or a list of texts of which one must be it. */
static bool takes(const json_t *want, const char *have)
{
    if (json_is_string(want))
        return strcmp(json_string_value(want), have) == 0;
    for (size_t i = 0; i < json_array_size(want); i++) {
        const char *one = json_string_value(json_array_get(want, i));
        if (one && strcmp(one, have) == 0)
            return true;
    }
    return false;
}

static bool selects(const LedgeGroup *g, const char *name, const json_t *labels,
                    const json_t *set_labels)
{
    const char *key;
    json_t *want;
    json_object_foreach(g->selector, key, want)
    {
        const char *have = json_string_value(json_object_get(set_labels, key));
        if (!have)
            have = json_string_value(json_object_get(labels, key));
        if (strcmp(key, "device_id") == 0)
            have = name;
        if (!have || !takes(want, have))
            return false;
    }
    return true;
}

uint64_t ledge__fleet_groups(const LedgeStore *s, const char *name, const json_t *labels,
                             const json_t *set_labels)
{
    uint64_t bits = 0;
    for (int i = 0; i < s->n_groups; i++)
        if (selects(&s->groups[i], name, labels, set_labels))
            bits |= (uint64_t)1 << i;
    return bits;
}

/* ---- assignments ---- */

static bool is_in(uint64_t groups, int group)
{
    return group >= 0 && (groups >> group & 1);
}

static LedgeAssignment *add(LedgePollAnswer *out, const LedgeAssigned *a, const char *version)
{
    if (out->n_models == LEDGE_FLEET_MODELS)
        return NULL;
    LedgeAssignment *m = &out->models[out->n_models++];
    *m = (LedgeAssignment){.strict = a->strict};
    COPY(m->name, a->model);
    COPY(m->version, version);
    COPY(m->when, a->moment);
    COPY(m->fallback_name, a->fallback_model);
    COPY(m->fallback_version, a->fallback_version);
    ledge__release_target(m->name, m->version, m->release);
    return m;
}

/* Where a rollout moves this device on, its version takes the place of the alias's, or stands
 * beside it in a step that runs in the shadow. */
static void assign_one(const LedgeStore *s, const char *name, uint64_t groups,
                       const LedgeAssigned *a, LedgePollAnswer *out)
{
    const LedgeLiveRollout *r = NULL;
    for (size_t i = 0; i < s->n_rollouts; i++)
        if (strcmp(s->rollouts[i].model, a->model) == 0 && is_in(groups, s->rollouts[i].group) &&
            ledge__rollout_place(s->rollouts[i].salt, name) <= s->rollouts[i].threshold)
            r = &s->rollouts[i];
    const bool shadow = r && r->plan.steps[r->at.step].shadow;
    if (a->version[0] && (!r || shadow))
        (void)add(out, a, a->version);
    LedgeAssignment *m = r ? add(out, a, r->to) : NULL;
    if (!m)
        return;
    m->shadow = shadow;
    COPY(m->when, r->plan.moment);
    if (a->version[0] && !m->fallback_name[0]) { /* what it ran before is what it falls back to */
        COPY(m->fallback_name, a->model);
        COPY(m->fallback_version, a->version);
    }
}

void ledge__fleet_assign(const LedgeStore *s, const char *name, uint64_t groups,
                         LedgePollAnswer *out)
{
    out->n_models = 0;
    /* Groups lie in the order of their priority: the first one that names a model decides. */
    for (int g = 0; g < s->n_groups; g++) {
        if (!is_in(groups, g))
            continue;
        for (size_t i = 0; i < s->n_assigned; i++) {
            const LedgeAssigned *a = &s->assigned[i];
            bool taken = a->group != g;
            for (size_t k = 0; k < out->n_models && !taken; k++)
                taken = strcmp(out->models[k].name, a->model) == 0;
            if (!taken)
                assign_one(s, name, groups, a, out);
        }
    }
}
