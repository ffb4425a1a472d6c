/* A report on a compressed model as one HTML page that needs nothing else: no network, no
 * script, light and dark, from a phone's width to a desk's.
 *
 * The caller fills plain numbers and names; all text is escaped here, so that a layer called
 * "<script>" is a layer with an odd name. NaN means "not measured" everywhere, and leaves out
 * what would show it. */
#ifndef LEDGE_REPORT_HTML_REPORT_H
#define LEDGE_REPORT_HTML_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

/* A model that was measured: the float one, the one that was written, others that were tried. */
typedef struct LedgeHtmlVariant {
    const char *name;      /* "float", "static, minmax" */
    uint64_t bytes;        /* of the file; 0: not known */
    double top1, top5;     /* shares of the labelled pictures */
    double agreement;      /* share of pictures with the reference's class */
    double p50_ms, p90_ms; /* latency of one run */
    double integer_share;  /* of the multiply-accumulates, run in integers */
    bool is_reference;     /* what the others are compared with; one of them */
    bool is_chosen;        /* what was written; at most one */
} LedgeHtmlVariant;

typedef struct LedgeHtmlLayer {
    const char *name, *op_type;
    double sqnr_db;   /* at the model's output when this layer alone is quantized */
    double agreement; /* share of pictures whose class stays, in the same trial */
    bool is_float;    /* stayed in float, */
    const char *why;  /* for this reason; NULL: none to tell */
} LedgeHtmlLayer;

typedef struct LedgeHtmlPair {
    const char *key, *value;
} LedgeHtmlPair;

typedef struct LedgeHtmlReport {
    const char *title;    /* the model's file name */
    const char *version;  /* of ledge */
    const char *date;     /* "2026-11-22 18:00 UTC" */
    const char *cpu;      /* what the latencies were measured on; NULL: nothing was timed */
    size_t n_pictures;    /* that accuracy and agreement were measured on */
    const char *pictures; /* what they are: "pictures of val"; NULL: "pictures" */
    const char *sqnr_of;  /* says what sqnr_db above is; NULL: as written there */
    LedgeHtmlVariant *variants;
    size_t n_variants;
    LedgeHtmlLayer *layers; /* in the order of the graph */
    size_t n_layers;
    const char *const *warnings;
    size_t n_warnings;
    LedgeHtmlPair *settings; /* how the model was made */
    size_t n_settings;
} LedgeHtmlReport;

/* The page, NUL-terminated UTF-8, freed by the caller with free(). Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__html_report(const LedgeHtmlReport *report, LedgeError *err,
                                                char **out, size_t *size);
/* The page as a file, whole or not at all. Statuses: IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__html_report_write(const LedgeHtmlReport *report,
                                                      const char *path, LedgeError *err);

#endif
