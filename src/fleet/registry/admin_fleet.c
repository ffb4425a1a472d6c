/* Devices, groups, what they run, rollouts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/admin.h"
#include "fleet/registry/rollout_turns.h"
#include "fleet/registry/store_state.h"

/* ---- devices ---- */

/* Puts the models of each device into its object. Both lists are in the order of device ids. */
static LedgeStatus add_models(LedgeStore *s, json_t *devices, int64_t after, LedgeError *err)
{
    json_t *models = NULL;
    size_t at = 0;
    const size_t n = json_array_size(devices);
    if (!n)
        return LEDGE_OK;
    const int64_t last = ledge__member_int(json_array_get(devices, n - 1), "id");
    LEDGE_TRY(ledge__sql_list(s->db, err, &models, LEDGE_Q_DEVICE_MODELS_ALL, "ii", after, last));
    for (size_t i = 0; i < n; i++) {
        json_t *d = json_array_get(devices, i), *mine = json_array();
        const int64_t id = ledge__member_int(d, "id");
        for (; at < json_array_size(models); at++) {
            json_t *m = json_array_get(models, at);
            if (ledge__member_int(m, "device") > id)
                break;
            (void)json_array_append(mine, m);
        }
        (void)json_object_set_new(d, "models", mine);
    }
    json_decref(models);
    return LEDGE_OK;
}

LedgeStatus ledge__admin_devices(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const int64_t after = ledge__admin_number(ask, "after", 0, INT64_MAX),
                  limit = ledge__admin_number(ask, "limit", 200, 10000);
    json_t *devices = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &devices, LEDGE_Q_DEVICES, "ii", after, limit));
    LedgeStatus status = add_models(s, devices, after, err);
    if (!status)
        return ledge__admin_pack(
            json_pack("{s:o, s:I}", "devices", devices, "now", (json_int_t)s->now), err, out);
    json_decref(devices);
    return status;
}

LedgeStatus ledge__admin_device(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *d = NULL, *models = NULL, *groups = json_array();
    LedgePollAnswer answer = {0};
    LedgeStatus status = ledge__sql_one(s->db, err, &d, LEDGE_Q_DEVICE, "t", ask->words[0]);
    if (!status && !d)
        status = ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ask->words[0], "there is no such device");
    if (!status)
        status = ledge__sql_list(s->db, err, &models, LEDGE_Q_DEVICE_MODELS, "i",
                                 ledge__member_int(d, "id"));
    if (status) {
        json_decref(d);
        json_decref(groups);
        return status;
    }
    const uint64_t bits = ledge__fleet_groups(s, ask->words[0], json_object_get(d, "labels"),
                                              json_object_get(d, "set_labels"));
    json_t *assigned = json_array();
    for (int g = 0; g < s->n_groups; g++)
        if (bits >> g & 1)
            (void)json_array_append_new(groups, json_string(s->groups[g].name));
    ledge__fleet_assign(s, ask->words[0], bits, &answer);
    for (size_t i = 0; i < answer.n_models; i++)
        (void)json_array_append_new(
            assigned, json_pack("{s:s, s:s, s:b}", "name", answer.models[i].name, "version",
                                answer.models[i].version, "shadow", answer.models[i].shadow));
    (void)json_object_set_new(d, "models", models);
    (void)json_object_set_new(d, "groups", groups);
    (void)json_object_set_new(d, "assigned", assigned);
    *out = d;
    return LEDGE_OK;
}

static LedgeStatus check_labels(const json_t *labels, LedgeError *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(labels) || json_object_size(labels) > LEDGE_FLEET_LABELS)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "labels", "must be an object of up to %d texts",
                           LEDGE_FLEET_LABELS);
    json_object_foreach((json_t *)labels, key, v)
    {
        const char *text = json_string_value(v);
        if (!ledge__fleet_is_name(key) || !text || !ledge__fleet_is_name(text))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, key,
                               "labels are names of letters, digits, '.', '_' and '-'");
    }
    return LEDGE_OK;
}

/* {"labels": {...}} replaces the labels that were set here; {"state": "blocked"|"active"}. */
LedgeStatus ledge__admin_device_set(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                    json_t **out)
{
    const char *name = ask->words[0];
    const json_t *labels = json_object_get(ask->body, "labels");
    const char *state = json_string_value(json_object_get(ask->body, "state"));
    json_t *there = NULL;
    LEDGE_TRY(ledge__sql_one(s->db, err, &there, LEDGE_Q_DEVICE, "t", name));
    json_decref(there);
    if (!there)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "there is no such device");
    if (!labels && !state)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name, "say \"labels\" or \"state\"");
    if (state && strcmp(state, "blocked") != 0 && strcmp(state, "active") != 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "state", "must be blocked or active");
    if (labels) {
        LEDGE_TRY(check_labels(labels, err));
        char *text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
        LedgeStatus status =
            text ? ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_LABELS, "tt", name, text)
                 : ledge__no_memory(err);
        free(text);
        LEDGE_TRY(status);
    }
    if (state)
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_STATE, "tt", name, state));
    LEDGE_TRY(ledge__store_audit(
        s, ask->who, "device.set", name, ledge__admin_reason(ask),
        json_pack("{s:s, s:O*}", "state", state ? state : "", "labels", labels), err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_device(s, ask, err, out);
}

/* ---- groups ---- */

LedgeStatus ledge__admin_groups(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *groups = NULL, *assignments = NULL;
    (void)ask;
    LEDGE_TRY(ledge__sql_list(s->db, err, &groups, LEDGE_Q_GROUPS, ""));
    LedgeStatus status = ledge__sql_list(s->db, err, &assignments, LEDGE_Q_ASSIGNMENTS, "");
    if (!status)
        return ledge__admin_pack(
            json_pack("{s:o, s:o}", "groups", groups, "assignments", assignments), err, out);
    json_decref(groups);
    return status;
}

/* Values are texts or lists of texts. */
static LedgeStatus check_selector(const json_t *selector, LedgeError *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(selector) || json_object_size(selector) > LEDGE_FLEET_LABELS)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "selector",
                           "must be an object of labels and their values");
    json_object_foreach((json_t *)selector, key, v)
    {
        bool good = json_is_string(v) ||
                    (json_is_array(v) && json_array_size(v) > 0 && json_array_size(v) <= 1000);
        for (size_t i = 0; good && i < json_array_size(v); i++)
            good = json_is_string(json_array_get(v, i));
        if (!good || !ledge__fleet_is_name(key))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, key,
                               "a selector's value is a text or a list of texts");
    }
    return LEDGE_OK;
}

LedgeStatus ledge__admin_group_set(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                   json_t **out)
{
    const char *name = ask->words[0];
    json_t *selector = json_object_get(ask->body, "selector"),
           *priority = json_object_get(ask->body, "priority");
    if (!ledge__fleet_is_name(name) || strcmp(name, "all") == 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                           "is no name for a group, or is the group of all");
    if (ledge__fleet_group_index(s, name) < 0 && s->n_groups == LEDGE_STORE_GROUPS)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, name, "there are %d groups, and no more can be",
                           LEDGE_STORE_GROUPS);
    LEDGE_TRY(check_selector(selector, err));
    if (priority && !json_is_integer(priority))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "priority", "must be a whole number");
    char *text = json_dumps(selector, JSON_COMPACT | JSON_SORT_KEYS);
    LedgeStatus status =
        text ? ledge__sql_run(s->db, err, LEDGE_Q_GROUP_SET, "ttii", name, text,
                              priority ? (int64_t)json_integer_value(priority) : 10, s->now)
             : ledge__no_memory(err);
    free(text);
    LEDGE_TRY(status);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "group.set", name, ledge__admin_reason(ask),
                                 json_pack("{s:O}", "selector", selector), err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_groups(s, ask, err, out);
}

LedgeStatus ledge__admin_group_drop(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                    json_t **out)
{
    const char *name = ask->words[0];
    if (strcmp(name, "all") == 0 || ledge__fleet_group_index(s, name) < 0)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "there is no such group that can go");
    for (size_t i = 0; i < s->n_rollouts; i++)
        if (s->rollouts[i].group == ledge__fleet_group_index(s, name))
            return ledge__fail(err, LEDGE_ERROR_MISMATCH, name, "rollout %lld goes through it",
                               (long long)s->rollouts[i].id);
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENTS_DROP_GROUP, "t", name));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_GROUP_DROP, "t", name));
    LEDGE_TRY(
        ledge__store_audit(s, ask->who, "group.drop", name, ledge__admin_reason(ask), NULL, err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_groups(s, ask, err, out);
}

/* {"alias", "fallback": {"name","version"}|null, "when", "strict"} */
LedgeStatus ledge__admin_assign(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const char *group = ask->words[0], *model = ask->words[1], *alias = "champion", *when = "now";
    const json_t *fallback = json_object_get(ask->body, "fallback");
    char subject[160];
    if (ledge__fleet_group_index(s, group) < 0 || !ledge__fleet_is_name(model))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, group,
                           "there is no such group, or no such model");
    if (json_object_get(ask->body, "alias"))
        LEDGE_TRY(ledge__admin_text(ask, "alias", ledge__fleet_is_name, err, &alias));
    if (json_object_get(ask->body, "when"))
        LEDGE_TRY(ledge__admin_text(ask, "when", ledge__fleet_is_when, err, &when));
    const char *name = json_string_value(json_object_get(fallback, "name")),
               *version = json_string_value(json_object_get(fallback, "version"));
    if (fallback && !json_is_null(fallback) &&
        (!name || !version || !ledge__fleet_is_name(name) ||
         !ledge__fleet_is_name(version + (version[0] == '@'))))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "fallback",
                           "needs \"name\" and \"version\" (a version or @alias)");
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENT_SET, "tttttti", group, model, alias,
                             name, version, when,
                             (int64_t)json_is_true(json_object_get(ask->body, "strict"))));
    snprintf(subject, sizeof subject, "%s %s", group, model);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "group.assign", subject, ledge__admin_reason(ask),
                                 json_pack("{s:s, s:s}", "alias", alias, "when", when), err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_groups(s, ask, err, out);
}

LedgeStatus ledge__admin_unassign(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    char subject[420];
    LEDGE_TRY(
        ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENT_DROP, "tt", ask->words[0], ask->words[1]));
    if (!ledge__sql_changed(s->db))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ask->words[0], "this group does not run %s",
                           ask->words[1]);
    snprintf(subject, sizeof subject, "%s %s", ask->words[0], ask->words[1]);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "group.unassign", subject, ledge__admin_reason(ask),
                                 NULL, err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_groups(s, ask, err, out);
}

/* ---- rollouts ---- */

LedgeStatus ledge__admin_rollouts(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_ROLLOUTS, "i",
                              ledge__admin_number(ask, "limit", 50, 1000)));
    return ledge__admin_pack(json_pack("{s:o}", "rollouts", rows), err, out);
}

static LedgeStatus rollout_row(LedgeStore *s, const char *id, LedgeError *err, json_t **out)
{
    char *end;
    const int64_t n = strtoll(id, &end, 10);
    if (end == id || *end)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, id, "a rollout is named by its number");
    LEDGE_TRY(ledge__sql_one(s->db, err, out, LEDGE_Q_ROLLOUT, "i", n));
    return *out ? LEDGE_OK
                : ledge__fail(err, LEDGE_ERROR_NOT_FOUND, id, "there is no such rollout");
}

LedgeStatus ledge__admin_rollout(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    return rollout_row(s, ask->words[0], err, out);
}

LedgeStatus ledge__admin_rollout_command(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                         json_t **out)
{
    json_t *row = NULL;
    LedgeLiveRollout r;
    LedgeRolloutTurn turn;
    LEDGE_TRY(rollout_row(s, ask->words[0], err, &row));
    LedgeStatus status = ledge__fleet_rollout(s, row, err, &r);
    json_decref(row);
    if (!status)
        status = ledge__rollout_command(&r.plan, &r.at, ask->words[1], s->now, err, &turn);
    if (!status)
        status = ledge__rollout_apply(s, &r, turn, ask->who, ledge__admin_reason(ask), err);
    return status ? status : rollout_row(s, ask->words[0], err, out);
}

/* The alias that the group runs the model by; an assignment is made where there is none. */
static LedgeStatus group_alias(LedgeStore *s, const char *group, const char *model, LedgeError *err,
                               char alias[LEDGE_FLEET_NAME])
{
    json_t *rows = NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_ASSIGNMENTS, ""));
    bool found = false;
    for (size_t i = 0; i < json_array_size(rows) && !found; i++) {
        const json_t *a = json_array_get(rows, i);
        found = strcmp(ledge__member_text(a, "grp"), group) == 0 &&
                strcmp(ledge__member_text(a, "model"), model) == 0;
        if (found)
            snprintf(alias, LEDGE_FLEET_NAME, "%s", ledge__member_text(a, "alias"));
    }
    json_decref(rows);
    if (found)
        return LEDGE_OK;
    snprintf(alias, LEDGE_FLEET_NAME, "%s", strcmp(group, "all") == 0 ? "champion" : group);
    return ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENT_SET, "tttttti", group, model, alias, NULL,
                          NULL, "now", (int64_t)0);
}

typedef struct NewRollout {
    const char *model, *version, *group;
    char alias[LEDGE_FLEET_NAME], from[LEDGE_FLEET_NAME];
    char *plan;
    int64_t id;
} NewRollout;

static LedgeStatus check_new(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, NewRollout *n)
{
    LedgeRolloutPlan plan;
    json_t *row = NULL, *empty = json_object(), *given = json_object_get(ask->body, "plan");
    int64_t live = 0;
    n->group = "all";
    LedgeStatus status = ledge__rollout_plan_read(given ? given : empty, err, &plan);
    json_decref(empty);
    LEDGE_TRY(status);
    LEDGE_TRY(ledge__admin_text(ask, "model", ledge__fleet_is_name, err, &n->model));
    LEDGE_TRY(ledge__admin_text(ask, "version", ledge__fleet_is_name, err, &n->version));
    if (json_object_get(ask->body, "group"))
        LEDGE_TRY(ledge__admin_text(ask, "group", ledge__fleet_is_name, err, &n->group));
    if (ledge__fleet_group_index(s, n->group) < 0)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, n->group, "there is no such group");
    LEDGE_TRY(ledge__sql_one(s->db, err, &row, LEDGE_Q_VERSION_GET, "tt", n->model, n->version));
    const bool active = row && strcmp(ledge__member_text(row, "state"), "active") == 0;
    json_decref(row);
    if (!active)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, n->version,
                           "%s has no such version, or it was retired", n->model);
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &live, LEDGE_Q_ROLLOUT_LIVE_OF, "t", n->model));
    if (live)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, n->model,
                           "a rollout of it is on its way already");
    json_t *o = ledge__rollout_plan_json(&plan);
    n->plan = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return n->plan ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus start_rollout(LedgeStore *s, const LedgeAsk *ask, NewRollout *n, LedgeError *err)
{
    json_t *row = NULL;
    char id[24], subject[64];
    LedgeLiveRollout r;
    LEDGE_TRY(group_alias(s, n->group, n->model, err, n->alias));
    LEDGE_TRY(ledge__sql_one(s->db, err, &row, LEDGE_Q_ALIAS_GET, "tt", n->model, n->alias));
    snprintf(n->from, sizeof n->from, "%s", row ? ledge__member_text(row, "version") : "");
    json_decref(row);
    if (strcmp(n->from, n->version) == 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, n->version,
                           "group %s runs this version already", n->group);
    /* What devices reported of this version in an earlier try counts no more. */
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_DEVICE_MODELS_FORGET, "tt", n->model, n->version));
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &n->id, LEDGE_Q_ROLLOUT_ADD, "tttttii", n->model,
                                n->from, n->version, n->group, n->plan, s->now, (int64_t)-1));
    snprintf(id, sizeof id, "%lld", (long long)n->id);
    LEDGE_TRY(rollout_row(s, id, err, &row));
    LedgeStatus status = ledge__fleet_rollout(s, row, err, &r);
    json_decref(row);
    if (!status)
        status = ledge__rollout_threshold_now(s, &r, err);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_ROLLOUT_SET, "iitiiiti", r.id, r.revision,
                                "running", (int64_t)0, s->now, r.threshold, "", s->now);
    LEDGE_TRY(status);
    snprintf(subject, sizeof subject, "rollout %s", id);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "rollout.new", subject, ledge__admin_reason(ask),
                                 json_pack("{s:s, s:s, s:s, s:s}", "model", n->model, "version",
                                           n->version, "before", n->from, "group", n->group),
                                 err));
    return ledge__store_changed(s, err);
}

LedgeStatus ledge__admin_rollout_new(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                     json_t **out)
{
    NewRollout n = {0};
    char id[24];
    LedgeStatus status = check_new(s, ask, err, &n);
    if (!status)
        status = start_rollout(s, ask, &n, err);
    free(n.plan);
    snprintf(id, sizeof id, "%lld", (long long)n.id);
    return status ? status : rollout_row(s, id, err, out);
}
