/* Names, bounds and small enumerations of the fleet protocol (docs/fleet.md), and the checks that
 * both sides make of them.
 *
 * What comes from outside is checked here before it is used as part of a path, a query or a
 * statement: names hold letters, digits, point, dash and underscore alone. */
#ifndef LEDGE_FLEET_WIRE_NAMES_H
#define LEDGE_FLEET_WIRE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/json_scan.h"

enum {
    LEDGE_FLEET_NAME = 65,     /* a model's name or version, with its NUL */
    LEDGE_FLEET_DEVICE = 129,  /* a device's id */
    LEDGE_FLEET_PATH = 257,    /* a file of a release, or a target */
    LEDGE_FLEET_SHA256 = 65,   /* 64 lower-case hexadecimal digits */
    LEDGE_FLEET_ETAG = 72,     /* without its quotation marks */
    LEDGE_FLEET_BATCH = 161,   /* a batch's id */
    LEDGE_FLEET_TOKEN = 193,   /* most characters of a token */
    LEDGE_FLEET_REASON = 256,  /* one sentence */
    LEDGE_FLEET_WORD = 33,     /* arch, level, kind */
    LEDGE_FLEET_MODELS = 16,   /* that one device runs or is told of */
    LEDGE_FLEET_LABELS = 16,   /* of one device */
    LEDGE_FLEET_INTERVAL = 60, /* seconds between polls where nobody says another number */
};

#define LEDGE_FLEET_POLL_MAX    ((size_t)64 << 10) /* bytes of a poll's request or answer */
#define LEDGE_FLEET_BATCH_MAX   ((size_t)1 << 20)  /* bytes of a batch, inflated */
#define LEDGE_FLEET_RELEASE_MAX ((size_t)1 << 20)  /* bytes of a release.json */

/* X(NAME, name): what a device does with a model. */
#define LEDGE_FLEET_STATES(X)                                                                      \
    X(RUNNING, "running")                                                                          \
    X(DOWNLOADING, "downloading")                                                                  \
    X(TESTING, "testing")                                                                          \
    X(FAILED, "failed")                                                                            \
    X(FALLBACK, "fallback")

/* X(NAME, name): the drift verdict of a model on a device. */
#define LEDGE_FLEET_DRIFTS(X)                                                                      \
    X(OFF, "off")                                                                                  \
    X(LEARNING, "learning")                                                                        \
    X(FINE, "fine")                                                                                \
    X(WARNING, "warning")                                                                          \
    X(HIGH, "high")

#define LEDGE_FLEET_ONE(NAME, name) LEDGE_FLEET_##NAME,
typedef enum LedgeFleetState { LEDGE_FLEET_STATES(LEDGE_FLEET_ONE) } LedgeFleetState;
#undef LEDGE_FLEET_ONE
#define LEDGE_FLEET_ONE(NAME, name) LEDGE_FLEET_DRIFT_##NAME,
typedef enum LedgeFleetDrift { LEDGE_FLEET_DRIFTS(LEDGE_FLEET_ONE) } LedgeFleetDrift;
#undef LEDGE_FLEET_ONE

const char *ledge__fleet_state_name(LedgeFleetState state);
const char *ledge__fleet_drift_name(LedgeFleetDrift drift);
/* false: no such name. */
bool ledge__fleet_state_of(const char *name, LedgeFleetState *out);
bool ledge__fleet_drift_of(const char *name, LedgeFleetDrift *out);

/* A model's name or version: [A-Za-z0-9][A-Za-z0-9._-]{0,63}. */
bool ledge__fleet_is_name(const char *text);
/* A device's id: [A-Za-z0-9][A-Za-z0-9._:-]{0,127}. */
bool ledge__fleet_is_device(const char *text);
/* A batch's id: the same letters, up to 160. */
bool ledge__fleet_is_batch(const char *text);
/* A relative path of 1 to 8 names of [A-Za-z0-9_][A-Za-z0-9._-]*, up to 256 bytes in all: it
 * cannot leave its folder, name a hidden file, or be absolute. */
bool ledge__fleet_is_path(const char *text);
bool ledge__fleet_is_sha256(const char *text);

/* Reads a JSON string that must satisfy `is`; else the fault `what` is set. */
void ledge__fleet_read(LedgeJson *j, char *out, size_t size, bool (*is)(const char *),
                       const char *what);
/* A whole number from `least` on. */
int64_t ledge__fleet_count(LedgeJson *j, int64_t least, const char *what);

/* A JSON string with its quotation marks. What is not UTF-8 becomes '?'. */
void ledge__fleet_put_string(FILE *to, const char *text);
/* The same behind a key: ,"key":"text" (without the comma where `first`). */
void ledge__fleet_put(FILE *to, bool first, const char *key, const char *text);
void ledge__fleet_put_int(FILE *to, bool first, const char *key, int64_t v);

#endif
