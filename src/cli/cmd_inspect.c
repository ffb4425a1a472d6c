/* ledge inspect: what a model file holds, and what would run of it where. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "ledge/report.h"

typedef struct Options {
    bool json, graph, steps;
    const char *cpu;
} Options;

static const CliOption options[] = {
    {"graph", 0, CLI_FLAG, NULL, "print the optimised graph, one line a node",
     offsetof(Options, graph), 0, 0},
    {"steps", 0, CLI_FLAG, NULL, "list each step that would run, with its multiply-accumulates",
     offsetof(Options, steps), 0, 0},
    CLI_OPTION_CPU(Options),
    CLI_OPTION_JSON(Options),
};

/* ---- text ---- */

static void print_ends(const char *what, const LedgeTensorInfo *infos, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%-12s %s  %s\n", i ? "" : what, cli_clean(infos[i].name), cli_info_text(&infos[i]));
}

static void print_header(const char *path, const LedgeReport *r)
{
    printf("%-12s %s  (%s%s", "file", cli_clean(path), cli_bytes(r->file_bytes),
           r->compiled ? ", compiled" : "");
    if (r->external_bytes)
        printf(", and %s external data", cli_bytes(r->external_bytes));
    printf(")\n%-12s IR %" PRId64 ", opset", "format", r->ir_version);
    for (size_t i = 0; i < r->n_opsets; i++)
        printf("%s %s%s%" PRId64, i ? "," : "", cli_clean(r->opsets[i].domain),
               *r->opsets[i].domain ? " " : "", r->opsets[i].version);
    printf("\n");
    if (*r->producer_name)
        printf("%-12s %s %s\n", "producer", cli_clean(r->producer_name),
               cli_clean(r->producer_version));
    if (*r->graph_name)
        printf("%-12s %s\n", "graph", cli_clean(r->graph_name));
    print_ends("inputs", r->inputs, r->n_inputs);
    print_ends("outputs", r->outputs, r->n_outputs);
    for (size_t i = 0; i < r->n_metadata; i++)
        printf("%-12s %s = %.100s\n", i ? "" : "metadata", cli_clean(r->metadata[i].key),
               cli_clean(r->metadata[i].value));
}

static void print_contents(const LedgeReport *r)
{
    printf("%-12s %s in %zu tensors, %s:", "parameters", cli_count((uint64_t)r->parameters),
           r->n_initializers, cli_bytes(r->parameter_bytes));
    for (size_t i = 0; i < r->n_weights; i++)
        printf("%s %s %s", i ? "," : "", ledge_type_name(r->weights[i].type),
               cli_bytes(r->weights[i].bytes));
    printf("\n%-12s %zu", "nodes", r->n_nodes);
    if (r->n_subgraphs)
        printf(", %zu subgraphs", r->n_subgraphs);
    if (r->n_functions)
        printf(", %zu functions", r->n_functions);
    printf("\n");
    for (size_t i = 0; i < r->n_ops; i++)
        printf("%-12s %6zu  %s%s%s%s\n", i ? "" : "operators", r->ops[i].count,
               cli_clean(r->ops[i].domain), *r->ops[i].domain ? "." : "",
               cli_clean(r->ops[i].op_type), r->ops[i].supported ? "" : "   (not supported)");
    if (r->n_quantize || r->n_dequantize || r->n_weighted_quantized)
        printf("%-12s %zu of %zu weighted operators; %zu QuantizeLinear, %zu DequantizeLinear\n",
               "quantized", r->n_weighted_quantized, r->n_weighted, r->n_quantize, r->n_dequantize);
    else
        printf("%-12s nothing\n", "quantized");
}

static void print_steps(const LedgeReport *r)
{
    for (size_t i = 0; i < r->n_steps; i++) {
        const LedgeReportStep *s = &r->steps[i];
        char op[64];
        snprintf(op, sizeof op, "%s%s%s", s->domain, *s->domain ? "." : "", s->op_type);
        printf("%-12s %6zu  %-28s %10s  %s%s\n", i ? "" : "step", i, cli_clean(op),
               s->macs ? cli_count((uint64_t)s->macs) : "-", cli_clean(s->name),
               s->skips_zeros ? " (skips zeros)" : "");
    }
}

/* The steps of a quantized model that multiply floats all the same. */
static void print_left_in_float(const LedgeReport *r, bool all)
{
    enum { SOME = 8 };
    size_t n = 0;
    for (size_t i = 0; i < r->n_steps; i++) {
        const LedgeReportStep *s = &r->steps[i];
        if (s->integer || !s->macs)
            continue;
        if (all || n < SOME)
            printf("%-12s %s (%s)\n", n ? "" : "in float", cli_clean(s->name),
                   cli_clean(s->op_type));
        n++;
    }
    if (n > SOME && !all)
        printf("%-12s and %zu more; --steps lists them\n", "", n - SOME);
}

static void print_work(const LedgeReport *r, bool steps)
{
    printf("%-12s %s multiply-accumulates a run", "work", cli_count((uint64_t)r->macs));
    if (r->integer_macs || r->n_dequantize)
        printf(", %.1f %% of them in 8-bit integers",
               r->macs ? 100.0 * (double)r->integer_macs / (double)r->macs : 0.0);
    printf("\n");
    if (r->integer_macs || r->n_dequantize)
        print_left_in_float(r, steps);
}

static void print_run(const LedgeReport *r, bool steps)
{
    if (r->runnable) {
        printf("%-12s no: %s%s%s\n", "runs", cli_clean(r->problem.where),
               *r->problem.where ? ": " : "", cli_clean(r->problem.message));
        return;
    }
    size_t fused = 0;
    for (size_t i = 0; i < r->n_steps; i++)
        fused += *r->steps[i].domain != '\0';
    printf("%-12s all %zu steps on cpu (%s kernels), %zu of them fused\n", "runs", r->n_steps,
           r->cpu, fused);
    print_work(r, steps);
    size_t skipping = 0;
    for (size_t i = 0; i < r->n_steps; i++)
        skipping += r->steps[i].skips_zeros;
    if (skipping)
        printf("%-12s skipped in blocks by %zu of %zu steps\n", "zeros", skipping, r->n_steps);
    printf("%-12s %s for activations\n", "memory", cli_bytes(r->arena_bytes));
    if (steps)
        print_steps(r);
}

/* ---- JSON ---- */

static json_t *pairs_json(const LedgeReport *r)
{
    json_t *o = json_object();
    for (size_t i = 0; i < r->n_metadata; i++) {
        json_t *key = cli_json_text(r->metadata[i].key);
        json_object_set_new(o, key ? json_string_value(key) : "",
                            cli_json_text(r->metadata[i].value));
        json_decref(key);
    }
    return o;
}

static json_t *opsets_json(const LedgeReport *r)
{
    json_t *a = json_array();
    for (size_t i = 0; i < r->n_opsets; i++)
        json_array_append_new(a,
                              json_pack("{s:o, s:I}", "domain", cli_json_text(r->opsets[i].domain),
                                        "version", (json_int_t)r->opsets[i].version));
    return a;
}

static json_t *ends_json(const LedgeTensorInfo *infos, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, cli_info_json(&infos[i]));
    return a;
}

static json_t *contents_json(const LedgeReport *r)
{
    json_t *ops = json_array(), *weights = json_array();
    for (size_t i = 0; i < r->n_ops; i++)
        json_array_append_new(
            ops, json_pack("{s:o, s:o, s:I, s:b}", "domain", cli_json_text(r->ops[i].domain),
                           "op_type", cli_json_text(r->ops[i].op_type), "count",
                           (json_int_t)r->ops[i].count, "supported", (int)r->ops[i].supported));
    for (size_t i = 0; i < r->n_weights; i++)
        json_array_append_new(weights, json_pack("{s:s, s:I, s:I, s:I}", "type",
                                                 ledge_type_name(r->weights[i].type), "tensors",
                                                 (json_int_t)r->weights[i].tensors, "elements",
                                                 (json_int_t)r->weights[i].elements, "bytes",
                                                 (json_int_t)r->weights[i].bytes));
    return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:o}", "nodes", (json_int_t)r->n_nodes,
                     "subgraphs", (json_int_t)r->n_subgraphs, "functions",
                     (json_int_t)r->n_functions, "operators", ops, "parameters",
                     (json_int_t)r->parameters, "parameter_bytes", (json_int_t)r->parameter_bytes,
                     "weights", weights);
}

static json_t *run_json(const LedgeReport *r)
{
    json_t *steps = json_array();
    if (r->runnable) {
        json_decref(steps);
        return json_pack("{s:b, s:s, s:o, s:o}", "runnable", 0, "reason",
                         ledge_status_text(r->runnable), "where", cli_json_text(r->problem.where),
                         "message", cli_json_text(r->problem.message));
    }
    for (size_t i = 0; i < r->n_steps; i++)
        json_array_append_new(steps, json_pack("{s:o, s:o, s:o, s:s, s:I, s:b, s:b}", "name",
                                               cli_json_text(r->steps[i].name), "domain",
                                               cli_json_text(r->steps[i].domain), "op_type",
                                               cli_json_text(r->steps[i].op_type), "provider",
                                               "cpu", "macs", (json_int_t)r->steps[i].macs,
                                               "integer", (int)r->steps[i].integer, "skips_zeros",
                                               (int)r->steps[i].skips_zeros));
    return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:o}", "runnable", 1, "provider", "cpu",
                     "cpu_level", r->cpu, "macs", (json_int_t)r->macs, "integer_macs",
                     (json_int_t)r->integer_macs, "arena_bytes", (json_int_t)r->arena_bytes,
                     "steps", steps);
}

static json_t *report_json(const char *path, const LedgeReport *r)
{
    json_t *o =
        json_pack("{s:o, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "file",
                  cli_json_text(path), "format", r->compiled ? "ledge" : "onnx", "file_bytes",
                  (json_int_t)r->file_bytes, "external_bytes", (json_int_t)r->external_bytes,
                  "ir_version", (json_int_t)r->ir_version, "opsets", opsets_json(r),
                  "producer_name", cli_json_text(r->producer_name), "producer_version",
                  cli_json_text(r->producer_version), "graph", cli_json_text(r->graph_name),
                  "metadata", pairs_json(r), "inputs", ends_json(r->inputs, r->n_inputs), "outputs",
                  ends_json(r->outputs, r->n_outputs), "run", run_json(r));
    json_t *contents = contents_json(r);
    json_t *quantized =
        json_pack("{s:I, s:I, s:I, s:I}", "weighted_operators", (json_int_t)r->n_weighted,
                  "quantized", (json_int_t)r->n_weighted_quantized, "quantize_linear",
                  (json_int_t)r->n_quantize, "dequantize_linear", (json_int_t)r->n_dequantize);
    if (o && contents)
        json_object_update(o, contents);
    if (o)
        json_object_set_new(o, "quantization", quantized);
    json_decref(contents);
    return o;
}

/* ---- the command ---- */

/* Each line of the text is cleaned by itself: it is made of the model's names. */
static int print_graph(const char *path, const LedgeModelOptions *mo)
{
    LedgeError err = {0};
    LedgeModel *m = NULL;
    char *text = NULL;
    if (ledge_model_load(path, mo, &err, &m))
        return cli_fail(path, &err);
    const LedgeStatus status = ledge_model_graph_text(m, &text);
    ledge_model_free(m);
    if (status)
        return cli_fail_with(path, status, "out of memory");
    for (char *p = text; *p; p++)
        putchar((unsigned char)*p < 0x20 && *p != '\n' ? '?' : *p);
    free(text);
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    LedgeError err = {0};
    LedgeReport *r = NULL;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    const char *path = args.items[0];
    const LedgeModelOptions mo = {.cpu = o.cpu};
    if (o.graph && o.json)
        code = cli_usage(c, "--graph is text; it does not go with --json");
    else if (o.graph)
        code = print_graph(path, &mo);
    else if (ledge_report_create(path, &mo, &err, &r))
        code = cli_fail(path, &err);
    else if (o.json)
        code = cli_print_json(report_json(path, r));
    else {
        print_header(path, r);
        print_contents(r);
        print_run(r, o.steps);
        code = cli_finish();
    }
    ledge_report_free(r);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "show operators, parameters, work, sizes, and what would run where",
    .description =
        "Shows what a model file (.onnx or .ledge) holds: inputs and outputs, opset, metadata,\n"
        "operators, weights, what is quantized; and, where ledge can run it, the steps that\n"
        "remain after optimisation, their multiply-accumulates, and the memory they need.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
