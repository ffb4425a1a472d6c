/* One turn of the agent: report and ask, trust, fetch, test, switch, send telemetry.
 *
 * Runs in a process of its own that ends with the turn, so that HTTP, TLS and whatever comes from
 * the network never share memory with the process that stays. Every turn begins from the folder
 * (agent_state.h) and may be killed at any moment. */
#ifndef LEDGE_AGENT_SYNC_H
#define LEDGE_AGENT_SYNC_H

#include "fleet/agent/agent_state.h"
#include "fleet/agent/download.h"
#include "fleet/agent/http_client.h"

typedef struct LedgeAgentConfig {
    const char *state;     /* the agent's folder */
    const char *root;      /* root.json, the trust anchor */
    const char *device_id; /* NULL: one is made up and kept */
    LedgeHttpOptions http;
    LedgePollLabel labels[LEDGE_FLEET_LABELS];
    size_t n_labels;
    int64_t quota; /* bytes of versions and downloads; 0: no limit but the disk */
    int64_t keep;  /* versions besides the running one */
    const char
        *sample_key;  /* file of the key whose samples are sent; NULL: none leave the device */
    const char *arch; /* NULL: this machine's */
    uint32_t cpu;     /* flags; 0: this CPU's */
    int download_tries, download_wait_ms; /* as in LedgeDownload */
    const bool *stop;                     /* set by a signal */
} LedgeAgentConfig;

typedef enum LedgeSyncWhat {
    LEDGE_SYNC_ALL,
    LEDGE_SYNC_VERIFY,    /* the same, and first all files of what runs are checked */
    LEDGE_SYNC_TELEMETRY, /* only send what waits */
    LEDGE_SYNC_FALL_BACK  /* what runs does not serve: fall back, then as VERIFY */
} LedgeSyncWhat;

/* What came of it; written to status.json for the process that stays and for people. */
typedef struct LedgeSyncResult {
    int64_t time;        /* when it ended, by the device's clock */
    int64_t interval_s;  /* till the next poll */
    int64_t retry_after; /* seconds that the registry asks for; -1: none */
    int64_t skew_ms;
    bool has_skew, polled, changed; /* changed: another file is served */
    bool signed_time;
    int64_t trusted_time; /* 0: not asked in this turn */
    int64_t versions[LEDGE_TUF_ROLE_COUNT];
    int64_t received;                  /* bytes */
    int64_t sent, duplicates, refused; /* batches */
    int64_t waiting;                   /* records not yet delivered */
    int64_t samples, samples_waiting;  /* of inputs: sent, and not yet */
    int64_t changes;                   /* counts up with each change of what is served */
    char problem[LEDGE_FLEET_REASON];  /* "": none */
    /* Why samples stay; nothing else waits for them. */
    char samples_problem[LEDGE_FLEET_REASON];
} LedgeSyncResult;

/* OK: a turn was made and status.json says how it went, be it that nothing could be reached.
 * Statuses: MISMATCH (another process works on the folder), IO, LIMIT, MEMORY, FORMAT (root). */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_sync(const LedgeAgentConfig *c, LedgeSyncWhat what,
                                               LedgeError *err, LedgeSyncResult *out);

void ledge__sync_result_write(const LedgeSyncResult *r, FILE *to);
LEDGE_MUST_CHECK LedgeStatus ledge__sync_result_read(const char *text, size_t size, LedgeError *err,
                                                     LedgeSyncResult *out);

#endif
