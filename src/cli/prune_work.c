/* One stage of channel pruning: opens, ranks, looks for the step that meets the target, builds. */
#include "cli/prune_work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/model_io.h"

enum { MOST_RUNS = 60, FEWEST_RUNS = 9 };
#define TIME_NS 400000000u

/* ---- timing ---- */

typedef struct Timed {
    LedgeSession *session;
    CliInputs inputs;
    LedgeTensor *outputs;
    size_t n_outputs;
    double ms[MOST_RUNS];
} Timed;

static LedgeStatus open_timed(Timed *t, LedgeModel *m, int threads, LedgeError *err)
{
    const LedgeSessionOptions so = {.threads = threads};
    const CliList no_shapes = {0};
    LEDGE_TRY(ledge_session_create(m, &so, err, &t->session));
    t->n_outputs = ledge_model_output_count(m);
    t->outputs = calloc(t->n_outputs + 1, sizeof *t->outputs);
    LedgeTensorInfo *infos = calloc(ledge_model_input_count(m) + 1, sizeof *infos);
    LedgeStatus s =
        t->outputs && infos && cli_inputs_new(m, &t->inputs) ? LEDGE_OK : ledge__no_memory(err);
    if (!s)
        s = cli_shapes_apply(m, &no_shapes, infos) == CLI_GO
                ? cli_inputs_fill(infos, 1, err, &t->inputs)
                : LEDGE_ERROR_SHAPE;
    free(infos);
    return s;
}

static void close_timed(Timed *t)
{
    ledge_session_free(t->session);
    cli_inputs_free(&t->inputs);
    free(t->outputs);
}

static LedgeStatus run_timed(Timed *t, double *ms, LedgeError *err)
{
    for (size_t i = 0; i < t->n_outputs; i++)
        t->outputs[i].data = NULL;
    const uint64_t from = cli_now_ns();
    LEDGE_TRY(ledge_session_run(t->session, t->inputs.tensors, t->inputs.n, t->outputs,
                                t->n_outputs, err));
    *ms = (double)(cli_now_ns() - from) / 1e6;
    return LEDGE_OK;
}

/* Blocks of four runs of each in turn, the first of a block not counted. */
static LedgeStatus take_turns(Timed *t, size_t n_sides, LedgeError *err, size_t *n)
{
    const uint64_t start = cli_now_ns();
    for (*n = 0; *n + 3 <= MOST_RUNS && (*n < FEWEST_RUNS || cli_now_ns() - start < TIME_NS);
         *n += 3)
        for (size_t k = 0; k < n_sides; k++) {
            double first;
            LEDGE_TRY(run_timed(&t[k], &first, err));
            for (size_t i = 0; i < 3; i++)
                LEDGE_TRY(run_timed(&t[k], &t[k].ms[*n + i], err));
        }
    return LEDGE_OK;
}

LedgeStatus prune_time_models(LedgeModel *a, LedgeModel *b, int threads, LedgeError *err,
                              double out[2])
{
    Timed t[2] = {{0}};
    const size_t sides = b ? 2 : 1;
    size_t n = 0;
    LedgeStatus s = open_timed(&t[0], a, threads, err);
    if (!s && b)
        s = open_timed(&t[1], b, threads, err);
    if (!s)
        s = take_turns(t, sides, err, &n);
    for (size_t k = 0; k < sides && !s; k++) {
        qsort(t[k].ms, n, sizeof *t[k].ms, cli_compare_doubles);
        out[k] = cli_percentile(t[k].ms, n, 50);
    }
    close_timed(&t[0]);
    close_timed(&t[1]);
    return s;
}

LedgeStatus prune_time(const PruneBytes *a, const PruneBytes *b, int threads, LedgeError *err,
                       double out[2])
{
    LedgeModel *models[2] = {NULL};
    LedgeStatus s = ledge_model_load_memory(a->bytes, a->size, NULL, err, &models[0]);
    if (!s && b)
        s = ledge_model_load_memory(b->bytes, b->size, NULL, err, &models[1]);
    if (!s)
        s = prune_time_models(models[0], models[1], threads, err, out);
    ledge_model_free(models[0]);
    ledge_model_free(models[1]);
    return s;
}

/* ---- a stage ---- */

static LedgeStatus bytes_at(LedgePruner *p, size_t step, LedgeError *err, PruneBytes *out)
{
    LedgePruned *m = NULL;
    ledge__pruner_take(p, step);
    LEDGE_TRY(ledge__pruner_build(p, err, &m));
    const LedgeStatus s = ledge__onnx_write_memory(&m->model, NULL, &out->bytes, &out->size, err);
    ledge__pruned_free(m);
    return s;
}

/* Milliseconds of the model at `step`. */
static LedgeStatus time_step(const PruneStage *s, LedgePruner *p, size_t step, LedgeError *err,
                             double *ms)
{
    PruneBytes b = {0};
    double out[2];
    if (cli_interrupted)
        return ledge__fail(err, LEDGE_ERROR_CANCELLED, "", "interrupted");
    LedgeStatus status = bytes_at(p, step, err, &b);
    if (!status)
        status = prune_time(&b, NULL, s->threads, err, out);
    ledge__free(NULL, b.bytes);
    *ms = status ? 0 : out[0];
    return status;
}

/* Halves the plan until the first step that is fast enough is found; each is really run. */
static LedgeStatus pick_latency(const PruneStage *s, LedgePruner *p, double target, LedgeError *err,
                                size_t *step)
{
    size_t low = 0, high = ledge__pruner_steps(p) - 1, done = 0;
    double ms;
    LEDGE_TRY(time_step(s, p, high, err, &ms));
    if (ms > target)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "target-latency",
                           "%.3g ms cannot be reached: with all channels gone that may go, a run "
                           "takes %.3g ms",
                           target, ms);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        LEDGE_TRY(time_step(s, p, middle, err, &ms));
        done++;
        cli_progress("timing", done, done + 1);
        if (ms <= target)
            high = middle;
        else
            low = middle + 1;
    }
    cli_progress_end();
    *step = high;
    return LEDGE_OK;
}

static LedgeStatus pick(const PruneStage *s, LedgePruner *p, const PruneCounts *c, LedgeError *err,
                        size_t *step)
{
    const PruneTarget *t = &s->target;
    const double now = ledge__pruner_channels(p);
    if (t->by == PRUNE_BY_MACS)
        return ledge__pruner_pick_macs(p, c->macs[0] * (1 - (1 - t->macs) * s->share), err, step);
    if (t->by == PRUNE_BY_LATENCY)
        return pick_latency(s, p, c->ms[0] - (c->ms[0] - t->latency) * s->share, err, step);
    /* Earlier stages have taken some of the amount. */
    const double left = (1 - t->amount * s->share) * c->channels[0];
    return ledge__pruner_pick_amount(
        p, s->share == 1 && now == c->channels[0] ? t->amount : 1 - left / now, err, step);
}

static json_t *why_json(const LedgePruneLayer *l)
{
    if (!l->fixed)
        return json_null();
    if (!l->barrier)
        return json_string("shares its channels with layers that must keep theirs");
    return strcmp(l->barrier->node, l->name) == 0
               ? json_string(l->barrier->why)
               : json_sprintf("%s %s", l->barrier->op_type, l->barrier->why);
}

static json_t *layers_json(const LedgePruner *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ledge__pruner_layers(p); i++) {
        const LedgePruneLayer l = ledge__pruner_layer(p, i);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:I, s:I, s:b, s:o}", "layer", cli_json_text(l.name), "op",
                            cli_json_text(l.op_type), "channels", (json_int_t)l.channels, "kept",
                            (json_int_t)l.kept, "fixed", l.fixed, "why", why_json(&l)));
    }
    return list;
}

static json_t *barriers_json(const LedgePruner *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ledge__pruner_barriers(p); i++) {
        const LedgePruneBarrier b = ledge__pruner_barrier(p, i);
        json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "node", cli_json_text(b.node),
                                              "op", cli_json_text(b.op_type), "why", b.why));
    }
    return list;
}

static LedgeStatus run_stage(const PruneStage *s, LedgePruner *p, const PruneBytes *from,
                             PruneCounts *c, LedgeError *err, PruneStaged *out)
{
    size_t step = 0;
    double ms[2];
    if (!from) {
        LEDGE_TRY(bytes_at(p, 0, err, &out->whole));
        c->channels[0] = ledge__pruner_channels(p);
        c->macs[0] = ledge__pruner_macs(p);
        if (s->target.by == PRUNE_BY_LATENCY) {
            LEDGE_TRY(prune_time(&out->whole, NULL, s->threads, err, ms));
            c->ms[0] = ms[0];
        }
    }
    if (s->before)
        LEDGE_TRY(s->before(s->arg, from ? from : &out->whole, err));
    LEDGE_TRY(ledge__pruner_score(p, s->gradient, s->arg, err));
    LEDGE_TRY(ledge__pruner_plan(p, err));
    /* What the last stage could not reach is told before the first. */
    if (!from && s->share < 1 && s->target.by != PRUNE_BY_LATENCY)
        LEDGE_TRY(pick(&(PruneStage){.target = s->target, .share = 1}, p, c, err, &step));
    LEDGE_TRY(pick(s, p, c, err, &step));
    LEDGE_TRY(bytes_at(p, step, err, &out->pruned));
    c->channels[1] = ledge__pruner_channels(p);
    c->macs[1] = ledge__pruner_macs(p);
    out->layers = layers_json(p);
    out->barriers = barriers_json(p);
    return LEDGE_OK;
}

void prune_staged_free(PruneStaged *s)
{
    ledge__free(NULL, s->whole.bytes);
    ledge__free(NULL, s->pruned.bytes);
    json_decref(s->layers);
    json_decref(s->barriers);
    *s = (PruneStaged){0};
}

LedgeStatus prune_stage(const PruneStage *s, const char *path, const PruneBytes *from,
                        PruneCounts *counts, LedgeError *err, PruneStaged *out)
{
    LedgePruner *p = NULL;
    PruneStaged made = {0};
    LEDGE_TRY(ledge__pruner_open(from ? NULL : path, from ? from->bytes : NULL,
                                 from ? from->size : 0, s->o, err, &p));
    const LedgeStatus status = run_stage(s, p, from, counts, err, &made);
    ledge__pruner_free(p);
    if (status)
        prune_staged_free(&made);
    else
        *out = made;
    return status;
}

/* ---- metadata ---- */

LedgeStatus prune_note(PruneBytes *b, const char *key, const char *value, LedgeError *err)
{
    OnnxModel *m = NULL;
    PruneBytes made = {0};
    LEDGE_TRY(ledge__onnx_read_memory(NULL, b->bytes, b->size, err, &m));
    LedgeStatus s = ledge__onnx_set_metadata(m, key, value, err);
    if (!s)
        s = ledge__onnx_write_memory(m, NULL, &made.bytes, &made.size, err);
    ledge__onnx_free(m);
    if (s)
        return s;
    ledge__free(NULL, b->bytes);
    *b = made;
    return LEDGE_OK;
}
