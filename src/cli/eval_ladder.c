/* The curve of a ladder. */
#include "cli/eval_ladder.h"

static CliLadderPoint point_at(double threshold, const CliRung *rungs, size_t n_rungs,
                               const int32_t *labels, size_t n)
{
    CliLadderPoint p = {.threshold = threshold};
    for (size_t i = 0; i < n; i++) {
        size_t r = 0;
        p.ms += (double)rungs[0].ms[i];
        while (r + 1 < n_rungs && !((double)rungs[r].sure[i] >= threshold))
            p.ms += (double)rungs[++r].ms[i];
        p.ended[r]++;
        p.right += labels[i] >= 0 && rungs[r].answers[i] == labels[i];
    }
    p.ms /= n ? (double)n : 1;
    return p;
}

size_t cli_ladder_curve(const CliRung *rungs, size_t n_rungs, const int32_t *labels, size_t n,
                        CliLadderPoint *out)
{
    static const double thresholds[] = {0,    0.3,   0.4,   0.5,   0.55,   0.6,   0.65, 0.7,
                                        0.75, 0.8,   0.85,  0.9,   0.92,   0.94,  0.96, 0.98,
                                        0.99, 0.995, 0.998, 0.999, 0.9999, 1.0001};
    const size_t count = sizeof thresholds / sizeof *thresholds;
    _Static_assert(sizeof thresholds / sizeof *thresholds <= CLI_LADDER_POINTS, "there is room");
    for (size_t i = 0; i < count; i++)
        out[i] = point_at(thresholds[i], rungs, n_rungs, labels, n);
    return count;
}

const CliLadderPoint *cli_ladder_best(const CliLadderPoint *points, size_t n, size_t last_right)
{
    const CliLadderPoint *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (points[i].right >= last_right && (!best || points[i].ms < best->ms))
            best = &points[i];
    return best;
}

static double percent(size_t part, size_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

void cli_ladder_print(const CliRung *rungs, size_t n_rungs, const CliLadderPoint *points,
                      size_t n_points, size_t n, size_t last_right, double last_ms)
{
    printf("as a ladder, each model asked when those before it are not sure enough:\n");
    printf("  threshold   top-1     ms    of last ");
    for (size_t r = 0; r < n_rungs; r++)
        printf("  model %zu", r + 1);
    printf("\n");
    for (size_t i = 0; i < n_points; i++) {
        const CliLadderPoint *p = &points[i];
        printf("  %9.4g  %5.2f%%  %6.3f  %6.2f", p->threshold > 1 ? 1 : p->threshold,
               percent(p->right, n), p->ms, p->ms / last_ms);
        for (size_t r = 0; r < n_rungs; r++)
            printf("  %5.1f%%", percent(p->ended[r], n));
        printf("%s\n", p->threshold > 1 ? "  (none is sure)" : "");
    }
    const CliLadderPoint *best = cli_ladder_best(points, n_points, last_right);
    if (best)
        printf("as right as %s from threshold %.4g on, in %.2f of its time\n",
               cli_clean(rungs[n_rungs - 1].path), best->threshold, best->ms / last_ms);
    else
        printf("never as right as %s alone\n", cli_clean(rungs[n_rungs - 1].path));
}

static json_t *point_json(const CliLadderPoint *p, size_t n_rungs, size_t n, double last_ms)
{
    json_t *shares = json_array();
    for (size_t r = 0; r < n_rungs; r++)
        json_array_append_new(shares, json_real(percent(p->ended[r], n) / 100));
    return json_pack("{s:f, s:f, s:f, s:o, s:o}", "threshold", p->threshold, "top1",
                     percent(p->right, n) / 100, "milliseconds_avg", p->ms, "ratio",
                     cli_json_real(p->ms / last_ms), "shares", shares);
}

json_t *cli_ladder_json(size_t n_rungs, const CliLadderPoint *points, size_t n_points, size_t n,
                        size_t last_right, double last_ms)
{
    json_t *curve = json_array();
    for (size_t i = 0; i < n_points; i++)
        json_array_append_new(curve, point_json(&points[i], n_rungs, n, last_ms));
    const CliLadderPoint *best = cli_ladder_best(points, n_points, last_right);
    return json_pack("{s:o, s:o}", "curve", curve, "best",
                     best ? point_json(best, n_rungs, n, last_ms) : json_null());
}
