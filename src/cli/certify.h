/* Between the parts of `ledge certify`: measuring, writing, checking, printing. */
#ifndef LEDGE_CLI_CERTIFY_H
#define LEDGE_CLI_CERTIFY_H

#include "cli/model_io.h"
#include "image/dataset.h"
#include "image/preprocess.h"
#include "trust/certificate.h"
#include "trust/key.h"

typedef struct CertifyOptions {
    bool json, remeasure;
    int64_t limit, threads, days, runs;
    const char *reference, *images, *labels, *dataset, *preprocess, *out, *cpu, *check, *model;
    const char *max_drop, *min_agreement, *max_latency_ratio;
    CliList keys;
} CertifyOptions;

enum { CERTIFY_MODEL, CERTIFY_REFERENCE };

typedef struct CertifySide {
    const char *path;
    LedgeModel *model;
    LedgeSession *session;
    LedgePreprocess pre;
    int32_t *answers; /* per picture */
    double *ms;       /* timed runs, sorted */
} CertifySide;

/* What is measured, and what the certificate's strings and JSON live in. */
typedef struct Certify {
    const CertifyOptions *o;
    CertifySide side[2];
    LedgeDataset *data;
    size_t n;
    size_t n_runs;
    LedgeCertificate c;
    char hash[5][LEDGE_SHA256_HEX]; /* two models, two baselines, the pictures */
    char *preprocess[2], *source;
} Certify;

/* Fills in all of m->c but times and gates from m->side[].path and the options. CLI_GO, or the
 * exit code after a message. */
int certify_measure(Certify *m);
/* File hashes, names, metadata: what is known without running anything. */
int certify_identify(Certify *m, int which);
void certify_free(Certify *m);

/* The keys that --key names; NULL-padded array of o->keys.n, freed by certify_keys_free. */
int certify_keys(const CertifyOptions *o, LedgeKey ***out);
void certify_keys_free(LedgeKey **keys, size_t n);

/* `ledge certify --check`. */
int certify_check(const CertifyOptions *o);

/* One sentence on stderr for each gate that refused; CLI_GATE, or CLI_OK where none did. */
int certify_say_gates(const LedgeCertificate *c);
void certify_print(const LedgeCertificate *c);

#endif
