/* Variants of a quantized model: size, accuracy on the samples kept, latency in turn with the
 * float model; and the report that shows them. */
#include "cli/quantize_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cpu.h"
#include "cli/model_io.h"
#include "compress/quantize/quant_record.h"
#include "ledge/report.h"

#define RUNS      40
#define BUDGET_NS 1500000000u

/* ---- one variant ---- */

typedef struct Timed {
    LedgeModel *model;
    LedgeSession *session;
    LedgeTensor *outputs;
    size_t n_outputs;
    double ms[RUNS];
} Timed;

static LedgeStatus open_timed(Timed *t, const void *bytes, size_t size, int threads,
                              LedgeError *err)
{
    const LedgeSessionOptions so = {.threads = threads};
    LEDGE_TRY(ledge_model_load_memory(bytes, size, NULL, err, &t->model));
    LEDGE_TRY(ledge_session_create(t->model, &so, err, &t->session));
    t->n_outputs = ledge_model_output_count(t->model);
    t->outputs = calloc(t->n_outputs + 1, sizeof *t->outputs);
    return t->outputs ? LEDGE_OK : ledge__no_memory(err);
}

static void close_timed(Timed *t)
{
    ledge_session_free(t->session);
    ledge_model_free(t->model);
    free(t->outputs);
}

static LedgeStatus run_timed(Timed *t, const LedgeJudge *j, size_t sample, LedgeError *err)
{
    for (size_t i = 0; i < t->n_outputs; i++)
        t->outputs[i].data = NULL;
    return ledge_session_run(t->session, j->samples[sample].inputs, j->n_inputs, t->outputs,
                             t->n_outputs, err);
}

/* Blocks of four runs in turn, the first of each not counted; gives the runs of each. */
static LedgeStatus take_turns(Timed t[2], const LedgeJudge *j, LedgeError *err, size_t *n)
{
    const struct timespec pause = {0, 1000000};
    const uint64_t start = cli_now_ns();
    *n = 0;
    while (*n + 3 <= RUNS && (*n < 6 || cli_now_ns() - start < BUDGET_NS)) {
        for (size_t k = 0; k < 2; k++) {
            nanosleep(&pause, NULL);
            for (size_t i = 0; i < 4; i++) {
                const uint64_t from = cli_now_ns();
                LEDGE_TRY(run_timed(&t[k], j, *n / 3 % j->n, err));
                if (i)
                    t[k].ms[*n + i - 1] = (double)(cli_now_ns() - from) / 1e6;
            }
        }
        *n += 3;
    }
    for (size_t k = 0; k < 2; k++)
        qsort(t[k].ms, *n, sizeof *t[k].ms, cli_compare_doubles);
    return LEDGE_OK;
}

static LedgeStatus time_both(const QuantizeMore *m, const void *plain, size_t plain_size,
                             const void *bytes, size_t size, LedgeError *err, double out[4])
{
    Timed t[2] = {{0}};
    size_t n = 0;
    LedgeStatus status = open_timed(&t[0], plain, plain_size, m->q->threads, err);
    if (!status)
        status = open_timed(&t[1], bytes, size, m->q->threads, err);
    if (!status)
        status = take_turns(t, m->judge, err, &n);
    for (size_t k = 0; k < 2 && !status; k++) {
        out[2 * k] = cli_percentile(t[k].ms, n, 50);
        out[2 * k + 1] = cli_percentile(t[k].ms, n, 90);
    }
    close_timed(&t[0]);
    close_timed(&t[1]);
    return status;
}

static double of(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* The float model comes first, with the first variant. */
static void add_float(QuantizeMore *m, size_t bytes, const double ms[4])
{
    const LedgeJudge *j = m->judge;
    if (m->n_variants)
        return;
    m->variants[m->n_variants++] = (LedgeHtmlVariant){.name = "float",
                                                      .bytes = bytes,
                                                      .top1 = of(j->float_top1, j->n_labelled),
                                                      .top5 = NAN,
                                                      .agreement = j->classifies ? 1 : NAN,
                                                      .p50_ms = ms[0],
                                                      .p90_ms = ms[1],
                                                      .integer_share = 0,
                                                      .is_reference = true};
}

static LedgeStatus add_variant(QuantizeMore *m, LedgeQuantizer *q, const char *name, bool chosen,
                               const void *plain, size_t plain_size, const void *bytes, size_t size,
                               LedgeError *err)
{
    LedgeScore s;
    double ms[4];
    (void)q;
    LEDGE_TRY(ledge__judge_score_bytes(m->judge, bytes, size, 0, err, &s));
    LEDGE_TRY(time_both(m, plain, plain_size, bytes, size, err, ms));
    add_float(m, plain_size, ms);
    if (m->n_variants == QUANTIZE_MOST_VARIANTS)
        return LEDGE_OK;
    m->variants[m->n_variants++] =
        (LedgeHtmlVariant){.name = name,
                           .bytes = size,
                           .top1 = of(s.top1, s.labelled),
                           .top5 = NAN,
                           .agreement = m->judge->classifies ? of(s.agreement, s.n) : NAN,
                           .p50_ms = ms[2],
                           .p90_ms = ms[3],
                           .integer_share = NAN,
                           .is_chosen = chosen};
    return LEDGE_OK;
}

/* `q` as it would be built now. */
static LedgeStatus measure_built(QuantizeMore *m, LedgeQuantizer *q, const char *name, bool chosen,
                                 LedgeError *err)
{
    OnnxModel *model = NULL;
    void *bytes = NULL, *plain = NULL;
    size_t size = 0, plain_size = 0;
    LedgeArena *arena = ledge__arena_new(q->allocator);
    LedgeStatus status =
        arena ? ledge__quantizer_build(q, arena, err, &model) : ledge__no_memory(err);
    if (!status)
        status = ledge__onnx_write_memory(model, q->allocator, &bytes, &size, err);
    ledge__arena_free(arena);
    if (!status)
        status = ledge__quantizer_float_model(q, NULL, 0, err, &plain, &plain_size);
    if (!status)
        status = add_variant(m, q, name, chosen, plain, plain_size, bytes, size, err);
    ledge__free(q->allocator, bytes);
    ledge__free(q->allocator, plain);
    return status;
}

/* ---- all modes ---- */

static LedgeStatus compare_calibrators(QuantizeMore *m, LedgeQuantizer *q,
                                       const LedgeQuantTick *tick, LedgeError *err)
{
    static const char *const names[] = {"static, minmax", "static, percentile", "static, entropy",
                                        "static, mse"};
    const LedgeCalibrator own = q->o.calibrator;
    LedgeStatus status = LEDGE_OK;
    for (int c = 0; c < 4 && !status; c++) {
        q->o.calibrator = (LedgeCalibrator)c;
        status = ledge__quantizer_ranges(q, err);
        if (!status)
            status = measure_built(m, q, names[c], false, err);
        if (!status)
            status = ledge__quant_tick(tick, "comparing modes", (size_t)c + 1, 7, err);
    }
    q->o.calibrator = own;
    return status ? status : ledge__quantizer_ranges(q, err);
}

/* Modes that need no ranges; what a model has no place for is left out. */
static LedgeStatus compare_mode(QuantizeMore *m, LedgeQuantMode mode, const char *name,
                                LedgeError *err)
{
    LedgeQuantOptions o = *m->q;
    LedgeQuantizer *q = NULL;
    o.mode = mode;
    const LedgeStatus opened = ledge__quantizer_open(m->path, &o, err, &q);
    if (opened == LEDGE_ERROR_UNSUPPORTED || opened == LEDGE_ERROR_ARGUMENT)
        return LEDGE_OK;
    const LedgeStatus status = opened ? opened : measure_built(m, q, name, false, err);
    ledge__quantizer_free(q);
    return status;
}

int quantize_compare(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *tick)
{
    static const struct {
        LedgeQuantMode mode;
        const char *name;
    } others[] = {{LEDGE_QUANT_DYNAMIC, "dynamic"},
                  {LEDGE_QUANT_WEIGHTS, "weights only"},
                  {LEDGE_QUANT_INT4, "int4 weights"}};
    LedgeError err = {0};
    LedgeStatus status =
        m->q->mode == LEDGE_QUANT_STATIC ? compare_calibrators(m, q, tick, &err) : LEDGE_OK;
    for (size_t i = 0; i < 3 && !status; i++) {
        if (others[i].mode != m->q->mode)
            status = compare_mode(m, others[i].mode, others[i].name, &err);
        if (!status)
            status = ledge__quant_tick(tick, "comparing modes", 5 + i, 7, &err);
    }
    cli_progress_end();
    return status ? cli_fail(m->path, &err) : CLI_GO;
}

static const char *own_name(const QuantizeMore *m)
{
    static char name[120];
    snprintf(name, sizeof name, "%s%s%s%s%s%s", ledge__quant_mode_name(m->q->mode),
             m->q->mode == LEDGE_QUANT_STATIC ? ", " : "",
             m->q->mode == LEDGE_QUANT_STATIC ? ledge__calibrator_name(m->q->calibrator) : "",
             m->o->equalize ? ", equalized" : "", m->adaptive ? ", adaptive" : "",
             m->o->mixed ? ", mixed" : "");
    return name;
}

int quantize_measure(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *tick)
{
    LedgeError err = {0};
    (void)tick;
    return measure_built(m, q, own_name(m), true, &err) ? cli_fail(m->path, &err) : CLI_GO;
}

/* ---- the report ---- */

static LedgeHtmlLayer *list_layers(const QuantizeMore *m, const LedgeQuantizer *q, size_t *n)
{
    LedgeHtmlLayer *all = calloc((size_t)q->n_nodes + 1, sizeof *all);
    *n = 0;
    for (uint32_t i = 0; all && i < q->n_nodes; i++) {
        const LedgeQuantNode *node = &q->nodes[i];
        const LedgeDamage *d = NULL;
        for (size_t k = 0; k < m->damages.n && !d; k++)
            d = m->damages.items[k].node == i ? &m->damages.items[k] : NULL;
        const bool heavy = node->role == LEDGE_QUANT_WEIGHTED || node->role == LEDGE_QUANT_PRODUCT;
        if (!d && !heavy && (node->integer || !node->why || node->absorbed))
            continue;
        all[(*n)++] =
            (LedgeHtmlLayer){.name = node->node->name,
                             .op_type = node->node->op_type,
                             .sqnr_db = d ? d->sqnr_db : NAN,
                             .agreement = d && m->judge->classifies ? of(d->agreement, d->n) : NAN,
                             .is_float = !node->integer,
                             .why = node->why};
    }
    return all;
}

static size_t list_settings(const QuantizeMore *m, const LedgeQuantizer *q, char text[8][200],
                            LedgeHtmlPair *to)
{
    size_t n = 0;
    const bool ranges = m->q->mode == LEDGE_QUANT_STATIC;
    snprintf(text[0], 200, "%s for %s", ledge__quant_mode_name(m->q->mode),
             ledge__quant_target_name(m->q->target));
    to[n++] = (LedgeHtmlPair){"mode", text[0]};
    snprintf(text[1], 200, "%zu samples%s%s", q->samples, ranges ? ", ranges by " : "",
             ranges ? ledge__calibrator_name(m->q->calibrator) : "");
    to[n++] = (LedgeHtmlPair){"calibration", text[1]};
    if (m->o->equalize) {
        snprintf(text[2], 200, "%zu pairs of layers", m->equalized.pairs);
        to[n++] = (LedgeHtmlPair){"equalized", text[2]};
    }
    if (m->adaptive) {
        snprintf(text[3], 200, "adaptive in %zu layers, error %.1f dB below nearest, seed %lld",
                 m->adapted.layers, m->adapted.gain_db, (long long)m->o->seed);
        to[n++] = (LedgeHtmlPair){"rounding", text[3]};
    }
    if (m->o->mixed) {
        snprintf(text[5], 200,
                 "%zu layer%s in float, %.2f points lost instead of %.2f, %.2f allowed",
                 m->mixed.kept, m->mixed.kept == 1 ? "" : "s", m->mixed.after, m->mixed.before,
                 m->mixed.budget);
        to[n++] = (LedgeHtmlPair){"mixed precision", text[5]};
    }
    return n;
}

static int write_report(QuantizeMore *m, LedgeHtmlReport *r, const json_t *warnings)
{
    LedgeError err = {0};
    const size_t n = json_array_size(warnings);
    const char **texts = calloc(n + 1, sizeof *texts);
    if (!texts)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++)
        texts[i] = json_string_value(json_array_get(warnings, i));
    r->warnings = texts;
    r->n_warnings = n;
    const int code = ledge__html_report_write(r, m->o->report, &err)
                         ? cli_fail_writing(m->o->report, &err)
                         : CLI_GO;
    free(texts);
    return code;
}

int quantize_more_report(QuantizeMore *m, LedgeQuantizer *q, const char *out_path,
                         uint64_t in_bytes, uint64_t out_bytes, const json_t *warnings)
{
    char text[8][200], cpu[200], date[40];
    LedgeHtmlPair settings[8];
    const time_t now = time(NULL);
    struct tm tm;
    if (!m->o->report)
        return CLI_GO;
    const char *slash = strrchr(out_path, '/');
    const int threads = cli_threads(m->q->threads);
    snprintf(cpu, sizeof cpu, "%s, %d thread%s", ledge__cpu_model_name(), threads,
             threads == 1 ? "" : "s");
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    LedgeReport *report = NULL;
    if (ledge_report_create(out_path, NULL, NULL, &report) == LEDGE_OK) {
        for (size_t i = 0; i < m->n_variants && report->macs; i++)
            if (m->variants[i].is_chosen)
                m->variants[i].integer_share = (double)report->integer_macs / (double)report->macs;
        ledge_report_free(report);
    }
    for (size_t i = 0; i < m->n_variants; i++)
        if (m->variants[i].is_reference || m->variants[i].is_chosen)
            m->variants[i].bytes = m->variants[i].is_chosen ? out_bytes : in_bytes;
    LedgeHtmlReport r = {.title = slash ? slash + 1 : out_path,
                         .version = ledge_version(),
                         .date = date,
                         .cpu = cpu,
                         .n_pictures = m->judge->n,
                         .pictures = "samples of the calibration data",
                         .variants = m->variants,
                         .n_variants = m->n_variants,
                         .settings = settings};
    r.n_settings = list_settings(m, q, text, settings);
    r.layers = list_layers(m, q, &r.n_layers);
    const int code = r.layers ? write_report(m, &r, warnings)
                              : cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    free(r.layers);
    return code;
}
