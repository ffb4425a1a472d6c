/* The steps of `ledge compress`, each a `ledge` process of its own, and what they made. */
#ifndef LEDGE_CLI_COMPRESS_STEPS_H
#define LEDGE_CLI_COMPRESS_STEPS_H

#include <limits.h>

#include "cli/compress_recipe.h"

/* One row of the table. */
typedef struct CompressRow {
    char name[120];
    char path[PATH_MAX]; /* of the model */
    uint64_t bytes;
    int64_t macs, integer_macs;
    double top1, ms; /* NaN: not measured */
} CompressRow;

typedef struct Compress {
    bool json;
    const char *path, *out, *preprocess, *test;
    CliList train;
    int64_t threads;
    char folder[PATH_MAX];           /* of what the steps make */
    char certificate[PATH_MAX + 32]; /* empty: none is made */
    Recipe recipe;
    CompressRow rows[RECIPE_MOST_STEPS + 1];
    size_t n_rows;
    json_t *answers; /* per step: what it printed with --json */
} Compress;

/* The step makes a row, certify none. CLI_OK or the exit code of the step; its answer is the last
 * of c->answers in any case. */
int compress_step(Compress *c, size_t step);
/* Accuracy, latency and multiply-accumulates of all rows. CLI_GO, or the exit code. */
int compress_measure(Compress *c);

#endif
