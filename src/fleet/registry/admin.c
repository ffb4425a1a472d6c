/* The admin API's table, and what its operations share. */
#include "fleet/registry/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const LedgeAdminRoute routes[] = {
    {"GET", "overview", LEDGE_ROLE_VIEWER, ledge__admin_overview},
    {"GET", "models", LEDGE_ROLE_VIEWER, ledge__admin_models},
    {"GET", "models/*/*", LEDGE_ROLE_VIEWER, ledge__admin_version},
    {"POST", "models/*/promote", LEDGE_ROLE_OPERATOR, ledge__admin_promote},
    {"POST", "models/*/retire", LEDGE_ROLE_OPERATOR, ledge__admin_retire},
    {"POST", "releases", LEDGE_ROLE_PUBLISHER, ledge__admin_release},
    {"POST", "gc", LEDGE_ROLE_OPERATOR, ledge__admin_gc},
    {"GET", "blobs/*", LEDGE_ROLE_VIEWER, ledge__admin_blob},
    {"POST", "root", LEDGE_ROLE_ADMIN, ledge__admin_root},
    {"GET", "devices", LEDGE_ROLE_VIEWER, ledge__admin_devices},
    {"GET", "devices/*", LEDGE_ROLE_VIEWER, ledge__admin_device},
    {"POST", "devices/*", LEDGE_ROLE_OPERATOR, ledge__admin_device_set},
    {"GET", "groups", LEDGE_ROLE_VIEWER, ledge__admin_groups},
    {"PUT", "groups/*", LEDGE_ROLE_OPERATOR, ledge__admin_group_set},
    {"DELETE", "groups/*", LEDGE_ROLE_OPERATOR, ledge__admin_group_drop},
    {"PUT", "groups/*/models/*", LEDGE_ROLE_OPERATOR, ledge__admin_assign},
    {"DELETE", "groups/*/models/*", LEDGE_ROLE_OPERATOR, ledge__admin_unassign},
    {"GET", "rollouts", LEDGE_ROLE_VIEWER, ledge__admin_rollouts},
    {"POST", "rollouts", LEDGE_ROLE_OPERATOR, ledge__admin_rollout_new},
    {"GET", "rollouts/*", LEDGE_ROLE_VIEWER, ledge__admin_rollout},
    {"POST", "rollouts/*/*", LEDGE_ROLE_OPERATOR, ledge__admin_rollout_command},
    {"GET", "audit", LEDGE_ROLE_VIEWER, ledge__admin_audit},
    {"GET", "tokens", LEDGE_ROLE_ADMIN, ledge__admin_tokens},
    {"POST", "tokens", LEDGE_ROLE_ADMIN, ledge__admin_token_new},
    {"DELETE", "tokens/*", LEDGE_ROLE_ADMIN, ledge__admin_token_revoke},
    {"GET", "rollups", LEDGE_ROLE_VIEWER, ledge__admin_rollups},
    {"GET", "events", LEDGE_ROLE_VIEWER, ledge__admin_events},
    {"GET", "raw", LEDGE_ROLE_VIEWER, ledge__admin_raw},
    {"GET", "samples", LEDGE_ROLE_VIEWER, ledge__admin_samples},
    {"DELETE", "samples/*", LEDGE_ROLE_OPERATOR, ledge__admin_sample_drop},
};

static bool fits(const char *pattern, const char *path, char words[3][LEDGE_ADMIN_WORD])
{
    int n = 0;
    while (*pattern && *path) {
        if (*pattern != '*') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        const size_t size = strcspn(path, "/");
        if (!size || size >= LEDGE_ADMIN_WORD || n == 3)
            return false;
        memcpy(words[n], path, size);
        words[n++][size] = '\0';
        path += size;
        pattern++;
    }
    return !*pattern && !*path;
}

const LedgeAdminRoute *ledge__admin_find(const char *method, const char *path,
                                         char words[3][LEDGE_ADMIN_WORD], bool *known)
{
    *known = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!fits(routes[i].path, path, words))
            continue;
        *known = true;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    }
    return NULL;
}

LedgeStatus ledge__admin_text(const LedgeAsk *ask, const char *key, bool (*is)(const char *),
                              LedgeError *err, const char **out)
{
    const char *text = json_string_value(json_object_get(ask->body, key));
    if (!text || (is && !is(text)))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, key, "\"%s\" is missing or not what it may be",
                           key);
    *out = text;
    return LEDGE_OK;
}

int64_t ledge__admin_number(const LedgeAsk *ask, const char *name, int64_t fallback, int64_t most)
{
    const char *text = ask->query ? ask->query(ask->query_arg, name) : NULL;
    char *end;
    if (!text)
        return fallback;
    const int64_t v = strtoll(text, &end, 10);
    return end == text || *end || v < 0 ? fallback : v > most ? most : v;
}

const char *ledge__admin_reason(const LedgeAsk *ask)
{
    const char *text = json_string_value(json_object_get(ask->body, "reason"));
    return text ? text : "";
}

LedgeStatus ledge__admin_pack(json_t *o, LedgeError *err, json_t **out)
{
    if (!o)
        return ledge__no_memory(err);
    *out = o;
    return LEDGE_OK;
}
