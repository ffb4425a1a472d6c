/* The admin API as a table: method, path below /v1/admin/, the role it asks for, what it does.
 * Every operation runs in a transaction and gives one JSON object. */
#ifndef LEDGE_FLEET_REGISTRY_ADMIN_H
#define LEDGE_FLEET_REGISTRY_ADMIN_H

#include "fleet/registry/store.h"

typedef LedgeStatus (*LedgeAdminOp)(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                    json_t **out);

typedef struct LedgeAdminRoute {
    const char *method, *path; /* a * stands for one word */
    LedgeRole role;
    LedgeAdminOp op;
} LedgeAdminRoute;

enum { LEDGE_ADMIN_WORD = 200 };

/* The route for a path ("models/x/promote"), its *s in words. NULL: there is none; *known: but
 * there is for another method. */
const LedgeAdminRoute *ledge__admin_find(const char *method, const char *path,
                                         char words[3][LEDGE_ADMIN_WORD], bool *known);

/* admin_models.c, admin_fleet.c, admin_view.c */
LedgeStatus ledge__admin_release(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_models(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_version(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_promote(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_retire(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_gc(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_blob(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_root(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_devices(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_device(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_device_set(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_groups(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_group_set(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_group_drop(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_assign(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_unassign(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_rollouts(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_rollout(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_rollout_new(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_rollout_command(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_audit(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_tokens(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_token_new(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_token_revoke(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_rollups(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_events(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_overview(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_samples(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_sample_drop(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);
LedgeStatus ledge__admin_raw(LedgeStore *, const LedgeAsk *, LedgeError *, json_t **);

/* A text of the body that must be there and satisfy `is` (NULL: any). Status FORMAT. */
LEDGE_MUST_CHECK LedgeStatus ledge__admin_text(const LedgeAsk *ask, const char *key,
                                               bool (*is)(const char *), LedgeError *err,
                                               const char **out);
/* A number of the address's query; `fallback` where it is missing or none. */
int64_t ledge__admin_number(const LedgeAsk *ask, const char *name, int64_t fallback, int64_t most);
/* The body's "reason", or "". */
const char *ledge__admin_reason(const LedgeAsk *ask);
LEDGE_MUST_CHECK LedgeStatus ledge__admin_pack(json_t *o, LedgeError *err, json_t **out);

#endif
