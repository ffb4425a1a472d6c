/* The poll: what a device says of itself, and what it is told to run (docs/fleet.md).
 *
 * Both are plain structures without pointers. Reading is bounded by them: a text with more
 * models, labels or letters than fit is refused, keys that are not known are passed over. */
#ifndef LEDGE_FLEET_WIRE_POLL_H
#define LEDGE_FLEET_WIRE_POLL_H

#include "fleet/protocol/wire_names.h"

/* What was seen since the last answered poll. */
typedef struct LedgePollWindow {
    int64_t count, errors; /* inferences, and how many of them failed */
    int64_t p90_us;        /* latency; 0: none measured */
    LedgeFleetDrift drift;
    int64_t shadow_count, shadow_agree; /* answers beside the old model, and how many agreed */
} LedgePollWindow;

typedef struct LedgePollModel {
    char name[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    LedgeFleetState state;
    char reason[LEDGE_FLEET_REASON]; /* why it failed or fell back; "": nothing to say */
    int64_t since_s;                 /* seconds in this state, by the monotonic clock */
    LedgePollWindow window;
} LedgePollModel;

typedef struct LedgePollLabel {
    char key[LEDGE_FLEET_NAME], value[LEDGE_FLEET_NAME];
} LedgePollLabel;

typedef struct LedgePollRequest {
    char device_id[LEDGE_FLEET_DEVICE];
    char agent[LEDGE_FLEET_NAME];                         /* "ledge-0.1.0" */
    char arch[LEDGE_FLEET_WORD], level[LEDGE_FLEET_WORD]; /* "x86-64", "avx512vnni" */
    int64_t cores;
    LedgePollLabel labels[LEDGE_FLEET_LABELS];
    size_t n_labels;
    int64_t clock;   /* the device's own, seconds since 1970; may be wrong */
    int64_t skew_ms; /* server's clock minus the device's, as last measured */
    bool has_skew;
    char boot[LEDGE_FLEET_NAME]; /* another one after each start of the device */
    int64_t uptime_s;
    LedgePollModel models[LEDGE_FLEET_MODELS];
    size_t n_models;
    int64_t queue_records, queue_dropped;
    int64_t disk_free, disk_quota; /* bytes */
    char etag[LEDGE_FLEET_ETAG];   /* of the answer it acts by; "": none */
} LedgePollRequest;

typedef struct LedgeAssignment {
    char name[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    char release[LEDGE_FLEET_PATH]; /* "models/NAME/VERSION/release.json", a signed target */
    char fallback_name[LEDGE_FLEET_NAME], fallback_version[LEDGE_FLEET_NAME]; /* "": none */
    bool shadow;                 /* run beside the present one and compare, do not switch */
    bool strict;                 /* serve this very version or none */
    char when[LEDGE_FLEET_WORD]; /* "now", "idle", or local hours "HH:MM-HH:MM" */
} LedgeAssignment;

typedef struct LedgeRetired {
    char name[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
} LedgeRetired;

typedef struct LedgePollAnswer {
    char etag[LEDGE_FLEET_ETAG];
    int64_t time;       /* the server's clock, seconds since 1970 */
    int64_t interval_s; /* till the next poll */
    LedgeAssignment models[LEDGE_FLEET_MODELS];
    size_t n_models;
    LedgeRetired retire[LEDGE_FLEET_MODELS]; /* to be deleted, unless in use */
    size_t n_retire;
} LedgePollAnswer;

/* Statuses: FORMAT (naming the byte), LIMIT (over LEDGE_FLEET_POLL_MAX). *out is filled with
 * defaults first and holds rubbish after a failure. */
LEDGE_MUST_CHECK LedgeStatus ledge__poll_request_read(const char *text, size_t size,
                                                      LedgeError *err, LedgePollRequest *out);
LEDGE_MUST_CHECK LedgeStatus ledge__poll_answer_read(const char *text, size_t size, LedgeError *err,
                                                     LedgePollAnswer *out);
/* JSON onto `to`, e.g. of open_memstream; ferror() says whether it went well. */
void ledge__poll_request_write(const LedgePollRequest *r, FILE *to);
void ledge__poll_answer_write(const LedgePollAnswer *a, FILE *to);

/* "now", "idle", or hours within which a switch may begin. */
bool ledge__fleet_is_when(const char *text);
/* Whether `when` allows a switch at `minute` of the day (0 to 1439) on a device that is idle or
 * not. Hours may go over midnight. */
bool ledge__fleet_when_allows(const char *when, int minute, bool idle);

#endif
