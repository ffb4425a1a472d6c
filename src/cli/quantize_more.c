/* Equalization, rounding, mixed precision for ledge quantize, see quantize_more.h. */
#include "cli/quantize_more.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/quantize_compare.h"

/* Layers are judged alone on so many samples: what it shows hardly changes with more. */
#define DAMAGE_SAMPLES   32
#define ADAPT_ITERATIONS 100
#define ADAPT_WORK       3e9

static bool tick(void *arg, const char *what, size_t done, size_t total)
{
    (void)arg;
    cli_progress(what, done, total);
    return !cli_interrupted;
}

static int failed(const char *path, const LedgeError *err)
{
    cli_progress_end();
    return cli_fail(err->status == LEDGE_ERROR_CANCELLED ? NULL : path, err);
}

static bool measures(const QuantizeMore *m)
{
    return m->o->mixed || m->o->report || m->o->compare;
}

int quantize_more_check(const CliCommand *c, QuantizeMore *m, bool has_data)
{
    const QuantizeMoreOptions *o = m->o;
    m->budget = (LedgeMixedBudget){0.3, 0};
    if (o->max_drop && !cli_number(o->max_drop, 0, 100, &m->budget.max_drop))
        return cli_usage(c, "--max-drop takes percentage points from 0 to 100");
    if (o->min_agreement && !cli_number(o->min_agreement, 0, 100, &m->budget.min_agreement))
        return cli_usage(c, "--min-agreement takes a percentage from 0 to 100");
    if ((o->max_drop || o->min_agreement) && !o->mixed)
        return cli_usage(c, "--max-drop and --min-agreement go with --mixed");
    m->adaptive = o->rounding && strcmp(o->rounding, "adaptive") == 0;
    if (o->rounding && !m->adaptive && strcmp(o->rounding, "nearest") != 0)
        return cli_usage(c, "--rounding takes nearest or adaptive");
    if (!has_data && (m->adaptive || measures(m)))
        return cli_usage(c, "%s looks at data: --calibrate DIR, --dataset SET or --input",
                         m->adaptive ? "--rounding adaptive"
                         : o->mixed  ? "--mixed"
                         : o->report ? "--report"
                                     : "--compare-modes");
    if (m->q->mode == LEDGE_QUANT_INT4 && m->adaptive)
        return cli_usage(c, "--rounding adaptive is for 8-bit weights, not for --mode int4");
    return CLI_GO;
}

int quantize_more_begin(QuantizeMore *m, size_t expected)
{
    LedgeError err = {0};
    if ((m->adaptive || measures(m)) && !m->judge &&
        ledge__judge_new(NULL, expected, LEDGE_JUDGE_BUDGET, m->q->threads, &err, &m->judge))
        return failed(m->path, &err);
    return CLI_GO;
}

int quantize_more_equalize(QuantizeMore *m, LedgeQuantizer *q)
{
    LedgeError err = {0};
    if (m->o->equalize && ledge__quant_equalize(q, &err, &m->equalized))
        return failed(m->path, &err);
    return CLI_GO;
}

int quantize_more_sample(QuantizeMore *m, const LedgeTensor *inputs, size_t n_inputs,
                         const LedgeTensor *outputs, size_t n_outputs, int32_t label)
{
    LedgeError err = {0};
    if (m->judge && ledge__judge_add(m->judge, inputs, n_inputs, outputs, n_outputs, label, &err))
        return failed(m->path, &err);
    return CLI_GO;
}

/* ---- what changes the model ---- */

static int adapt(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *t)
{
    LedgeError err = {0};
    const LedgeAdaptiveOptions o = {(uint64_t)m->o->seed, ADAPT_ITERATIONS, ADAPT_WORK, 0};
    if (m->adaptive && ledge__quant_adapt(q, m->judge, &o, t, &err, &m->adapted))
        return failed(m->path, &err);
    return ledge__quantizer_correct_bias(q, &err) ? failed(m->path, &err) : CLI_GO;
}

/* The reason, with figures, in place of the quantizer's own words. */
static void tell_why(const QuantizeMore *m, LedgeQuantizer *q)
{
    for (size_t i = 0; i < m->damages.n; i++) {
        const LedgeDamage *d = &m->damages.items[i];
        LedgeQuantNode *n = &q->nodes[d->node];
        char *why = d->kept ? ledge__arena_printf(
                                  q->arena,
                                  "--mixed keeps it: quantized alone it brings the output to %.1f "
                                  "dB and changes %zu of %zu answers",
                                  d->sqnr_db, d->n - d->agreement, d->n)
                            : NULL;
        if (why && !n->integer)
            n->why = why;
    }
}

static int mix(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *t)
{
    LedgeError err = {0};
    if (!m->o->mixed && !m->o->report)
        return CLI_GO;
    if (ledge__quant_damage(q, m->judge, DAMAGE_SAMPLES, t, &err, &m->damages))
        return failed(m->path, &err);
    if (!m->o->mixed)
        return CLI_GO;
    const size_t n = m->judge->n_labelled == m->judge->n ? m->judge->n_labelled : m->judge->n;
    if (m->budget.max_drop > 0 && 100 / (double)n > m->budget.max_drop)
        cli_warn(
            "one of %zu samples is %.2f points: a budget of %.2f allows no change at all; more "
            "samples judge finer",
            n, 100 / (double)n, m->budget.max_drop);
    if (ledge__quant_mixed(q, m->judge, &m->damages, m->budget, t, &err, &m->mixed))
        return failed(m->path, &err);
    if (!m->mixed.holds)
        cli_warn(
            "the budget is not held even with all %zu layers in float: %.2f points are lost and "
            "%.2f%% agree; what else is quantized costs that",
            m->mixed.kept, m->mixed.after, m->mixed.agreed_after);
    tell_why(m, q);
    return CLI_GO;
}

int quantize_more_search(QuantizeMore *m, LedgeQuantizer *q)
{
    const LedgeQuantTick t = {tick, m};
    LedgeError err = {0};
    if (ledge__quantizer_correct_bias(q, &err))
        return failed(m->path, &err);
    int code = m->o->compare ? quantize_compare(m, q, &t) : CLI_GO;
    if (code == CLI_GO)
        code = adapt(m, q, &t);
    if (code == CLI_GO)
        code = mix(m, q, &t);
    if (code == CLI_GO && measures(m))
        code = quantize_measure(m, q, &t);
    cli_progress_end();
    return code;
}

void quantize_more_free(QuantizeMore *m)
{
    ledge__judge_free(m->judge);
}

/* ---- words ---- */

static double share(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void print_mixed(const QuantizeMore *m, const LedgeQuantizer *q)
{
    printf("mixed precision: %zu of %zu layers stay in float; %.2f points lost instead of %.2f "
           "(%.2f allowed), agreement %.2f%% instead of %.2f%%, %zu samples, %zu trials\n",
           m->mixed.kept, m->damages.n, m->mixed.after, m->mixed.before, m->mixed.budget.max_drop,
           m->mixed.agreed_after, m->mixed.agreed_before, m->judge->n, m->mixed.trials);
    for (size_t i = 0; i < m->damages.n; i++)
        if (m->damages.items[i].kept)
            printf("  %s: alone %.1f dB, same answer for %.1f%%\n",
                   cli_clean(q->nodes[m->damages.items[i].node].node->name),
                   m->damages.items[i].sqnr_db,
                   100 * share(m->damages.items[i].agreement, m->damages.items[i].n));
}

void quantize_more_print(const QuantizeMore *m, const LedgeQuantizer *q)
{
    if (m->o->equalize)
        printf("equalized: %zu pairs of layers; %zu more have an upper bound between them and "
               "stay as they are\n",
               m->equalized.pairs, m->equalized.clipped);
    if (m->adaptive)
        printf("adaptive rounding: %zu layers, error %.1f dB below rounding to nearest; %zu "
               "layers passed over\n",
               m->adapted.layers, m->adapted.gain_db, m->adapted.passed);
    if (m->o->mixed)
        print_mixed(m, q);
    for (size_t i = 0; i < m->n_variants; i++) {
        const LedgeHtmlVariant *v = &m->variants[i];
        printf("%-26s %9s", v->name, cli_bytes(v->bytes));
        if (isfinite(v->top1))
            printf("  top-1 %6.2f%%", 100 * v->top1);
        if (isfinite(v->agreement))
            printf("  agreement %6.2f%%", 100 * v->agreement);
        printf("  p50 %.3f ms\n", v->p50_ms);
    }
}

static json_t *damage_json(const QuantizeMore *m, const LedgeQuantizer *q)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->damages.n; i++) {
        const LedgeDamage *d = &m->damages.items[i];
        json_array_append_new(a, json_pack("{s:o, s:o, s:f, s:b}", "node",
                                           cli_json_text(q->nodes[d->node].node->name), "sqnr_db",
                                           cli_json_real(d->sqnr_db), "agreement",
                                           share(d->agreement, d->n), "float", (int)d->kept));
    }
    return a;
}

static json_t *variants_json(const QuantizeMore *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->n_variants; i++) {
        const LedgeHtmlVariant *v = &m->variants[i];
        json_array_append_new(a, json_pack("{s:o, s:I, s:o, s:o, s:o, s:b}", "name",
                                           cli_json_text(v->name), "bytes", (json_int_t)v->bytes,
                                           "top1", cli_json_real(v->top1), "agreement",
                                           cli_json_real(v->agreement), "milliseconds_p50",
                                           cli_json_real(v->p50_ms), "written", (int)v->is_chosen));
    }
    return a;
}

json_t *quantize_more_json(const QuantizeMore *m, const LedgeQuantizer *q)
{
    json_t *mixed =
        m->o->mixed
            ? json_pack("{s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:b}", "max_drop",
                        m->mixed.budget.max_drop, "agreement_before", m->mixed.agreed_before / 100,
                        "agreement", m->mixed.agreed_after / 100, "drop_before", m->mixed.before,
                        "drop", m->mixed.after, "layers_float", (json_int_t)m->mixed.kept, "trials",
                        (json_int_t)m->mixed.trials, "holds", (int)m->mixed.holds)
            : json_null();
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o}", "equalized_pairs",
                     m->o->equalize ? json_integer((json_int_t)m->equalized.pairs) : json_null(),
                     "adapted_layers", (json_int_t)m->adapted.layers, "adapted_gain_db",
                     cli_json_real(m->adapted.gain_db), "mixed", mixed, "damage", damage_json(m, q),
                     "variants", variants_json(m));
}
