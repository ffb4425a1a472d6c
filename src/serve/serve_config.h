/* What `ledge serve` is to do, read from a JSON file. docs/serve.md has the schema.
 *
 * The file is refused as a whole for a key that is not known, given twice, or out of range, with
 * its line and column. Paths in it are taken from its own folder. */
#ifndef LEDGE_SERVE_SERVE_CONFIG_H
#define LEDGE_SERVE_SERVE_CONFIG_H

#include "serve/ladder.h"
#include "serve/shared_memory.h"

enum { LEDGE_CONFIG_PATH = 512, LEDGE_CONFIG_MODELS = 256, LEDGE_CONFIG_LADDERS = 32 };
#define LEDGE_CONFIG_MAX ((size_t)1 << 20) /* bytes of the file */

typedef struct LedgeModelConfig {
    char name[LEDGE_SERVE_NAME], version[16];
    char path[LEDGE_CONFIG_PATH]; /* "": how models of this name in the repository are served */
    LedgeServedOptions options;
} LedgeModelConfig;

/* Where alerts go. Text that is "" means nowhere. */
typedef struct LedgeAlertsConfig {
    bool log;
    char webhook[LEDGE_CONFIG_PATH];      /* URL that gets a POST with JSON */
    char alertmanager[LEDGE_CONFIG_PATH]; /* URL of an Alertmanager */
    char exec[LEDGE_CONFIG_PATH];         /* program to run */
    char token_file[LEDGE_CONFIG_PATH];   /* bearer token for both URLs */
    double cooldown, repeat;              /* seconds; 0: LedgeAlertOptions' own */
} LedgeAlertsConfig;

/* Inputs kept for retraining; off without a folder and a key. */
typedef struct LedgeSamplesConfig {
    char folder[LEDGE_CONFIG_PATH], key[LEDGE_CONFIG_PATH];
    double below;     /* confidence */
    int64_t per_hour; /* most samples */
    double mb;        /* of the disk */
} LedgeSamplesConfig;

typedef struct LedgeServeConfig {
    char host[64];
    int64_t port; /* -1: not said */
    int64_t workers, queue, connections;
    double deadline, body_mb, idle, watch, drain; /* 0: not said; drain -1 */
    char repository[LEDGE_CONFIG_PATH], token_file[LEDGE_CONFIG_PATH];
    char shared_memory[LEDGE_REGION_KEY]; /* what keys begin with; "": off */
    char certificate[LEDGE_CONFIG_PATH], key[LEDGE_CONFIG_PATH], state[LEDGE_CONFIG_PATH];
    LedgeServedOptions defaults;
    LedgeModelConfig *models;
    size_t n_models;
    LedgeLadderOptions *ladders;
    size_t n_ladders;
    LedgeAlertsConfig alerts;
    LedgeSamplesConfig samples;
} LedgeServeConfig;

/* What holds without a file, but for -1 and 0 above. */
void ledge__serve_config_init(LedgeServeConfig *c);
/* Reads `text`; `file` is for messages and for the folder of paths. `defaults` in *out are where
 * models begin, so that flags may be put there before. On failure *out is as after init. Statuses:
 * FORMAT, LIMIT, MEMORY. */
LedgeStatus ledge__serve_config_parse(const char *file, const char *text, size_t size,
                                      LedgeError *err, LedgeServeConfig *out);
void ledge__serve_config_free(LedgeServeConfig *c); /* {0} is legal */

#endif
