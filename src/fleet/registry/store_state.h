/* Between the parts of the store. */
#ifndef LEDGE_FLEET_REGISTRY_STORE_STATE_H
#define LEDGE_FLEET_REGISTRY_STORE_STATE_H

#include "base/alloc.h"
#include "fleet/registry/rollout.h"
#include "fleet/registry/store.h"

enum { LEDGE_STORE_GROUPS = 64 }; /* in the whole registry */

typedef struct LedgeGroup {
    char name[LEDGE_FLEET_NAME];
    json_t *selector;
    int64_t priority;
} LedgeGroup;

typedef struct LedgeAssigned {
    int group;                                               /* index */
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME]; /* "": its alias names none */
    char fallback_model[LEDGE_FLEET_NAME], fallback_version[LEDGE_FLEET_NAME];
    char moment[LEDGE_FLEET_WORD];
    bool strict;
} LedgeAssigned;

typedef struct LedgeLiveRollout {
    int64_t id, revision, threshold;
    char model[LEDGE_FLEET_NAME], from[LEDGE_FLEET_NAME], to[LEDGE_FLEET_NAME];
    char salt[LEDGE_FLEET_NAME + 24];
    int group; /* -1: it was deleted */
    LedgeRolloutPlan plan;
    LedgeRollout at;
} LedgeLiveRollout;

/* A device, as far as polls and batches need it. */
typedef struct LedgeDevice {
    struct LedgeDevice *next; /* of the same slot */
    int64_t id;
    uint64_t groups, labels_hash; /* bit per group; of the labels that the bits came from */
    bool has_groups, is_blocked;
    json_t *set_labels, *labels;
    int64_t seen, models_hash;
    char name[];
} LedgeDevice;

typedef struct LedgeRollupSlot {
    bool used;
    int64_t stream, at;
    int group, bucket;
    int64_t records, latency_us, confidence_ppm, warnings, highs, errors;
} LedgeRollupSlot;

struct LedgeStore {
    LedgeStoreOptions options;
    LedgeSql *db;
    int64_t now, epoch;
    bool has_fleet;
    LedgeArena *arena; /* of devices and streams */
    LedgeDevice **devices;
    size_t n_slots, n_devices;
    LedgeGroup groups[LEDGE_STORE_GROUPS];
    int n_groups;
    LedgeAssigned *assigned;
    size_t n_assigned;
    LedgeLiveRollout *rollouts;
    size_t n_rollouts;
    struct {
        LedgeIngestStream name;
        int64_t id;
    } * streams;
    size_t n_streams;
    LedgeRollupSlot *rollups; /* not yet in the database */
    size_t n_rollup_slots, n_rollups;
    int64_t cleaned; /* when */
};

/* store_fleet.c: reads groups, assignments, rollouts anew if the epoch asks for it. */
LedgeStatus ledge__fleet_load(LedgeStore *s, LedgeError *err);
void ledge__fleet_forget(LedgeStore *s);         /* devices, streams, pending rollups too */
void ledge__fleet_forget_devices(LedgeStore *s); /* and streams */
/* The device; made where it is new and may be. PROVIDER (blocked, or unknown), IO, MEMORY. */
LedgeStatus ledge__fleet_device(LedgeStore *s, const char *name, bool may_enroll, LedgeError *err,
                                LedgeDevice **out);
/* Bits of the groups that a device with these labels is in; set_labels win over labels. */
uint64_t ledge__fleet_groups(const LedgeStore *s, const char *name, const json_t *labels,
                             const json_t *set_labels);
/* What a device of these groups is to run now: fills models and their number. */
void ledge__fleet_assign(const LedgeStore *s, const char *name, uint64_t groups,
                         LedgePollAnswer *out);
int ledge__fleet_group_index(const LedgeStore *s, const char *name); /* -1: none */
/* Reads a row of the rollouts table, as ledge__sql_list gives it. */
LedgeStatus ledge__fleet_rollout(const LedgeStore *s, const json_t *row, LedgeError *err,
                                 LedgeLiveRollout *out);

/* store_ingest.c: writes the rollups that the transaction gathered. */
LedgeStatus ledge__store_flush_rollups(LedgeStore *s, LedgeError *err);

/* A text of an object, "" where it is missing. */
const char *ledge__member_text(const json_t *o, const char *key);
int64_t ledge__member_int(const json_t *o, const char *key);

#endif
