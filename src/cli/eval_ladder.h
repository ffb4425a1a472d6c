/* What a ladder of models (ledge/adaptive.h) would have answered at each threshold, from what each
 * of its models answered to every picture, how sure it was and how long it took. */
#ifndef LEDGE_CLI_EVAL_LADDER_H
#define LEDGE_CLI_EVAL_LADDER_H

#include "cli/cli.h"
#include "ledge/adaptive.h"

/* One model's answers, one after the other as the pictures came. */
typedef struct CliRung {
    const char *path;
    int32_t *answers;
    float *sure, *ms; /* how sure each was (0 where no ladder is asked for), and its time */
} CliRung;

typedef struct CliLadderPoint {
    double threshold, ms; /* ms: mean of a picture */
    size_t right;
    size_t ended[LEDGE_ADAPTIVE_RUNGS]; /* pictures that each rung gave the answer to */
} CliLadderPoint;

enum { CLI_LADDER_POINTS = 24 };

/* The curve, from the smallest model alone (threshold 0) to what no answer reaches; gives how many
 * points there are. labels[i] below 0: not known. */
size_t cli_ladder_curve(const CliRung *rungs, size_t n_rungs, const int32_t *labels, size_t n,
                        CliLadderPoint *out);
/* The cheapest point that is right no less often than the last model alone; NULL: none. */
const CliLadderPoint *cli_ladder_best(const CliLadderPoint *points, size_t n, size_t last_right);

void cli_ladder_print(const CliRung *rungs, size_t n_rungs, const CliLadderPoint *points,
                      size_t n_points, size_t n, size_t last_right, double last_ms);
json_t *cli_ladder_json(size_t n_rungs, const CliLadderPoint *points, size_t n_points, size_t n,
                        size_t last_right, double last_ms);

#endif
