/* What a certificate states about a compressed model, as a structure and as the JSON that is
 * signed (docs/formats.md). Everything is counted: pictures, nanoseconds, bytes, parts per
 * million; so the gates can be judged again by whoever reads it, exactly. */
#ifndef LEDGE_TRUST_CERTIFICATE_H
#define LEDGE_TRUST_CERTIFICATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledge/status.h"

#define LEDGE_CERTIFICATE_MAX ((size_t)16 << 20) /* bytes of a certificate's file */
#define LEDGE_TIME_TEXT       21                 /* "2026-11-22T18:00:00Z" and its NUL */
#define LEDGE_MILLION         1000000

/* Strings and JSON belong to whoever filled it in: the JSON that was read, or the caller. */
typedef struct LedgeCertifiedModel {
    const char *name, *sha256; /* file name without folders */
    int64_t length;
    json_t *external;       /* object: external data file to its SHA-256 */
    const char *preprocess; /* JSON text: how pictures were prepared for it */
    const char *baseline;   /* SHA-256 of the metadata entry ledge.baseline; NULL: none */
    int64_t top1, top5;     /* pictures right */
    int64_t p50_ns, p90_ns, p99_ns;
    int64_t cold_start_ns;      /* exec to first answer; 0: not measured */
    int64_t peak_memory;        /* bytes, of a fresh process that ran once; 0: not measured */
    int64_t macs, integer_macs; /* multiply-accumulates of one run; of these in integers */
} LedgeCertifiedModel;

typedef struct LedgeCertificate {
    int64_t created, expires; /* seconds since 1970, UTC */
    const char *ledge_version;
    LedgeCertifiedModel model, reference;
    struct {
        const char *source; /* "folder val", "cifar10:test.bin" */
        const char *sha256; /* of the list of their hashes, labels and names */
        json_t *names;      /* array of file names; empty for numbered sets */
        int64_t count;
    } pictures;
    int64_t agreement; /* pictures that both models put into the same class */
    struct {
        const char *name, *kernels; /* kernels: the level that was chosen, "avx512vnni" */
        json_t *features;           /* array of names */
        int64_t threads, runs;      /* timed runs of each model */
    } cpu;
    struct {
        int64_t max_drop;          /* millionths of top-1 that may be lost */
        int64_t min_agreement;     /* millionths of the pictures */
        int64_t max_latency_ratio; /* millionths: 1000000 is no slower than the reference */
    } gates;
} LedgeCertificate;

/* Which of its own gates a certificate fails. */
typedef struct LedgeGates {
    bool drop, agreement, latency;
} LedgeGates;
LedgeGates ledge__certificate_gates(const LedgeCertificate *c);

/* The JSON to be signed, a new reference; NULL: no memory. */
json_t *ledge__certificate_json(const LedgeCertificate *c);
/* Reads untrusted JSON and checks that it is one whole certificate whose figures fit together
 * and hold its own gates. *out borrows from `content`. Status: FORMAT. */
LEDGE_MUST_CHECK LedgeStatus ledge__certificate_read(const char *where, const json_t *content,
                                                     LedgeError *err, LedgeCertificate *out);
/* Status MISMATCH: expired at `now`, or made more than a day after it. */
LEDGE_MUST_CHECK LedgeStatus ledge__certificate_check_time(const char *where,
                                                           const LedgeCertificate *c, int64_t now,
                                                           LedgeError *err);

/* ISO 8601, UTC, whole seconds, years 1970 to 9999. Reading gives -1 for anything else. */
void ledge__time_text(int64_t seconds, char out[LEDGE_TIME_TEXT]);
int64_t ledge__time_read(const char *text);

#endif
