/* ledge prune: smaller networks, as standard ONNX.
 *
 * Removes whole channels (fewer multiply-accumulates, a smaller file, lower latency) or sets single
 * weights to zero. Writes the new model whole or not at all; the one that is read is never touched.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/out_file.h"
#include "cli/interrupt.h"
#include "cli/model_io.h"
#include "cli/prune_tune.h"
#include "ledge/report.h"

#define RECORD_KEY "ledge.pruning"

enum { MOST_NAMED = 3 };

typedef struct Options {
    bool json;
    int64_t round, steps, block, threads;
    const char *out, *method, *amount, *target_macs, *target_latency, *importance, *scope,
        *layer_limit, *teacher, *preprocess;
    CliList keep, finetune;
    TrainingOptions training;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "the pruned model to write", offsetof(Options, out), 0, 0},
    {"method", 'm', CLI_TEXT, "M", "channels (default), magnitude or 2:4",
     offsetof(Options, method), 0, 0},
    {"amount", 'a', CLI_TEXT, "A", "share of the channels (or weights) to go, 0 to 1",
     offsetof(Options, amount), 0, 0},
    {"target-macs", 0, CLI_TEXT, "R", "instead: share of the multiply-accumulates to keep",
     offsetof(Options, target_macs), 0, 0},
    {"target-latency", 0, CLI_TEXT, "T", "instead: milliseconds of one run, timed here (2ms)",
     offsetof(Options, target_latency), 0, 0},
    {"importance", 0, CLI_TEXT, "I", "l1, l2 (default), bn, taylor or random",
     offsetof(Options, importance), 0, 0},
    {"scope", 0, CLI_TEXT, "S", "global (default): the least of all; layer: a share of each",
     offsetof(Options, scope), 0, 0},
    {"layer-limit", 0, CLI_TEXT, "A", "most of one layer that scope global may take (0.75)",
     offsetof(Options, layer_limit), 0, 0},
    {"round", 0, CLI_INT, "N", "channels left are a multiple of N (8)", offsetof(Options, round), 1,
     1024},
    {"keep", 'k', CLI_LIST, "NODE", "leave this node's channels (or weights) as they are",
     offsetof(Options, keep), 0, 0},
    {"steps", 0, CLI_INT, "N", "go in N stages, channels ranked anew in each (1)",
     offsetof(Options, steps), 1, 1000},
    {"block", 0, CLI_INT, "N", "magnitude: output channels that go together (1); 16 for speed",
     offsetof(Options, block), 1, 1024},
    PRUNE_TUNE_OPTIONS(Options),
    CLI_OPTION_PREPROCESS(Options),
    TRAINING_OPTIONS(Options),
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_JSON(Options),
};

enum { CHANNELS, MAGNITUDE, TWO_OF_FOUR };

typedef struct Job {
    const Options *o;
    const char *path;
    int method;
    LedgePruneOptions p;
    PruneTarget target;
    PruneCounts counts;
    PruneTune tune;
    PruneGradients gradients;
    PruneBytes whole, made;
    json_t *layers, *barriers, *warnings;
    uint32_t *first; /* channels of each of the layers before the first stage; NULL: it is that */
    int64_t weights, zeros;     /* of methods that set weights to zero */
    size_t run_steps, skipping; /* of the result: all, and those that skip them */
    uint64_t in_bytes;
    double seconds;
} Job;

static void warn(Job *j, const char *text)
{
    json_array_append_new(j->warnings, cli_json_text(text));
    if (!j->o->json)
        cli_warn("%s", text);
}

/* ---- options ---- */

/* A number and, where `units`, ms (the same), us or s behind it; NaN for anything else. */
static double number(const char *text, bool units)
{
    char *end;
    errno = 0;
    const double x = strtod(text, &end);
    if (end == text || errno)
        return NAN;
    if (units && strcmp(end, "us") == 0)
        return x / 1000;
    if (units && strcmp(end, "s") == 0)
        return x * 1000;
    return *end == '\0' || (units && strcmp(end, "ms") == 0) ? x : NAN;
}

static int check_target(const CliCommand *c, Job *j)
{
    const Options *o = j->o;
    PruneTarget *t = &j->target;
    if (!!o->amount + !!o->target_macs + !!o->target_latency > 1)
        return cli_usage(c, "give one of --amount, --target-macs and --target-latency");
    if (j->method == TWO_OF_FOUR && (o->amount || o->target_macs || o->target_latency))
        return cli_usage(c, "2:4 sets half of the weights to zero; it takes no amount");
    if (j->method == MAGNITUDE && (o->target_macs || o->target_latency))
        return cli_usage(c, "--target-macs and --target-latency go with --method channels");
    if (j->method != TWO_OF_FOUR && !o->amount && !o->target_macs && !o->target_latency)
        return cli_usage(c,
                         "say how much: --amount 0.4, --target-macs 0.5 or --target-latency 2ms");
    t->by = o->target_macs ? PRUNE_BY_MACS : o->target_latency ? PRUNE_BY_LATENCY : PRUNE_BY_AMOUNT;
    t->amount = o->amount ? number(o->amount, false) : 0;
    t->macs = o->target_macs ? number(o->target_macs, false) : 0;
    t->latency = o->target_latency ? number(o->target_latency, true) : 0;
    if (o->amount && !(t->amount > 0 && t->amount < 1))
        return cli_usage(c, "--amount takes more than 0 and less than 1: with 0 nothing would go, "
                            "with 1 nothing would be left");
    if (o->target_macs && !(t->macs > 0 && t->macs < 1))
        return cli_usage(c, "--target-macs takes more than 0 and less than 1");
    if (o->target_latency && !(t->latency > 0 && t->latency < 1e9))
        return cli_usage(c, "--target-latency takes a time above 0, like 2ms or 500us");
    return CLI_GO;
}

static int check(const CliCommand *c, Job *j)
{
    static const char *const methods[] = {"channels", "magnitude", "2:4"};
    static const char *const ranks[] = {"l2", "l1", "bn", "random", "taylor"};
    static const LedgePruneImportance by[] = {LEDGE_PRUNE_L2, LEDGE_PRUNE_L1, LEDGE_PRUNE_BN,
                                              LEDGE_PRUNE_RANDOM, LEDGE_PRUNE_TAYLOR};
    static const char *const scopes[] = {"global", "layer"};
    const Options *o = j->o;
    const int rank = cli_choose(o->importance, 0, ranks, 5);
    const int scope = cli_choose(o->scope, 0, scopes, 2);
    j->method = cli_choose(o->method, 0, methods, 3);
    if (j->method < 0)
        return cli_usage(c, "--method takes channels, magnitude or 2:4");
    if (rank < 0)
        return cli_usage(c, "--importance takes l1, l2, bn, taylor or random");
    if (scope < 0)
        return cli_usage(c, "--scope takes global or layer");
    if (!o->out)
        return cli_usage(c, "give the file to write: -o OUT.onnx");
    const double limit = o->layer_limit ? number(o->layer_limit, false) : 0.75;
    if (!(limit > 0 && limit <= 1))
        return cli_usage(c, "--layer-limit takes more than 0, up to 1");
    if (j->method != CHANNELS && (o->steps > 1 || o->importance || o->layer_limit))
        return cli_usage(c, "--steps, --importance and --layer-limit go with --method channels");
    if (by[rank] == LEDGE_PRUNE_TAYLOR && !o->finetune.n)
        return cli_usage(c, "importance by taylor needs data to find gradients with: --finetune "
                            "DATA, and --epochs 0 if it is not to be trained on");
    if (o->training.resume && o->steps > 1)
        return cli_usage(c, "--resume goes on with a single stage, not with --steps");
    if (j->method != MAGNITUDE && o->block > 1)
        return cli_usage(c, "--block goes with --method magnitude");
    j->p = (LedgePruneOptions){.importance = by[rank],
                               .per_layer = scope == 1,
                               .round = (int)o->round,
                               .layer_limit = limit,
                               .seed = (uint64_t)o->training.seed,
                               .keep = o->keep.items,
                               .n_keep = o->keep.n};
    j->tune = (PruneTune){.path = j->path,
                          .out = o->out,
                          .data = &o->finetune,
                          .preprocess = o->preprocess,
                          .teacher_path = o->teacher,
                          .training = &o->training,
                          .threads = (int)o->threads,
                          .keep_zeros = j->method != CHANNELS};
    const int code = prune_tune_check(c, &j->tune);
    return code == CLI_GO ? check_target(c, j) : code;
}

/* ---- channels ---- */

/* The layers as they were at first, with what the last stage left of them. */
static int keep_layers(Job *j, json_t *layers)
{
    size_t i;
    json_t *layer;
    if (!j->layers) {
        j->layers = json_incref(layers);
        j->first = calloc(json_array_size(layers) + 1, sizeof *j->first);
        if (!j->first)
            return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
        json_array_foreach(layers, i, layer) j->first[i] =
            (uint32_t)json_integer_value(json_object_get(layer, "channels"));
        return CLI_GO;
    }
    json_array_foreach(layers, i, layer)
        json_object_set(json_array_get(j->layers, i), "kept", json_object_get(layer, "kept"));
    return CLI_GO;
}

static LedgeStatus find_gradients(void *arg, const PruneBytes *whole, LedgeError *err)
{
    Job *j = arg;
    return prune_tune_gradients(&j->tune, whole, err, &j->gradients);
}

static const float *gradient(void *arg, const char *name, int64_t count)
{
    Job *j = arg;
    return prune_tune_gradient(&j->gradients, name, count);
}

static int one_stage(Job *j, int64_t i)
{
    LedgeError err = {0};
    PruneStaged staged = {0};
    const double n = (double)j->o->steps;
    const bool later = j->made.bytes != NULL;
    const uint32_t before = j->counts.channels[1];
    LedgePruneOptions o = j->p;
    o.staged = i + 1 < j->o->steps || j->counts.channels[1] < j->counts.channels[0];
    o.first = j->first;
    o.n_first = json_array_size(j->layers);
    const bool taylor = o.importance == LEDGE_PRUNE_TAYLOR;
    const PruneStage stage = {.o = &o,
                              .before = taylor ? find_gradients : NULL,
                              .gradient = taylor ? gradient : NULL,
                              .arg = j,
                              .target = j->target,
                              .share = (double)(i + 1) / n,
                              .threads = (int)j->o->threads};
    const LedgeStatus s =
        prune_stage(&stage, j->path, later ? &j->made : NULL, &j->counts, &err, &staged);
    prune_tune_gradients_free(&j->gradients);
    if (s == LEDGE_ERROR_CANCELLED)
        return cli_was_interrupted();
    if (s)
        return cli_fail(j->path, &err);
    if (!j->whole.bytes) {
        j->whole = staged.whole;
        staged.whole.bytes = NULL;
        j->barriers = json_incref(staged.barriers);
    }
    ledge__free(NULL, j->made.bytes);
    j->made = staged.pruned;
    staged.pruned.bytes = NULL;
    const int code = keep_layers(j, staged.layers);
    prune_staged_free(&staged);
    if (j->o->steps > 1 && j->counts.channels[1] == (later ? before : j->counts.channels[0]))
        return code; /* rounding left nothing for this stage */
    return code == CLI_GO ? prune_tune_run(&j->tune, &j->made) : code;
}

static int prune_channels(Job *j)
{
    int code = CLI_GO;
    for (int64_t i = 0; i < j->o->steps && code == CLI_GO; i++) {
        if (j->o->steps > 1)
            cli_progress("prune", (size_t)i, (size_t)j->o->steps);
        code = cli_interrupted ? cli_was_interrupted() : one_stage(j, i);
    }
    cli_progress_end();
    return code;
}

/* ---- single weights ---- */

static int prune_single(Job *j)
{
    LedgeError err = {0};
    LedgePrunedWeights w = {0};
    const LedgePruneWeightsOptions o = {.two_of_four = j->method == TWO_OF_FOUR,
                                        .amount = j->target.amount,
                                        .block = (uint32_t)j->o->block,
                                        .per_layer = j->p.per_layer,
                                        .keep = j->p.keep,
                                        .n_keep = j->p.n_keep};
    if (ledge__prune_weights(j->path, &o, &err, &w))
        return cli_fail(j->path, &err);
    j->weights = w.weights;
    j->zeros = w.zeros;
    j->layers = json_array();
    for (size_t i = 0; i < w.n_layers; i++)
        json_array_append_new(j->layers, json_pack("{s:o, s:o, s:I, s:I}", "layer",
                                                   cli_json_text(w.layers[i].name), "op",
                                                   cli_json_text(w.layers[i].op_type), "weights",
                                                   (json_int_t)w.layers[i].weights, "zeros",
                                                   (json_int_t)w.layers[i].zeros));
    LedgeStatus s = ledge__onnx_write_memory(w.onnx, NULL, &j->whole.bytes, &j->whole.size, &err);
    if (!s)
        s = ledge__onnx_write_memory(&w.model->model, NULL, &j->made.bytes, &j->made.size, &err);
    ledge__prune_weights_free(&w);
    if (s)
        return cli_fail(j->path, &err);
    return prune_tune_run(&j->tune, &j->made);
}

/* Which zeros a run here makes use of, as the model that was written says. */
static int count_skipping(Job *j)
{
    LedgeError err = {0};
    LedgeReport *r = NULL;
    if (ledge_report_create(j->o->out, NULL, &err, &r))
        return cli_fail(j->o->out, &err);
    for (size_t i = 0; i < r->n_steps; i++)
        j->skipping += r->steps[i].skips_zeros;
    j->run_steps = r->n_steps;
    ledge_report_free(r);
    if (!j->skipping)
        warn(j, "the weights that are zero take part in every run here as before, so that neither "
                "latency nor the file gain: ledge skips blocks of 16 output channels (--block 16) "
                "in Gemm, MatMul and 1x1 Conv where two fifths of them or more are zero; --method "
                "channels makes both smaller");
    return CLI_GO;
}

/* ---- the result ---- */

static const char *method_name(const Job *j)
{
    return j->method == CHANNELS ? "channels" : j->method == MAGNITUDE ? "magnitude" : "2:4";
}

static const char *importance_name(const Job *j)
{
    static const char *const names[] = {[LEDGE_PRUNE_L1] = "l1",
                                        [LEDGE_PRUNE_L2] = "l2",
                                        [LEDGE_PRUNE_BN] = "bn",
                                        [LEDGE_PRUNE_TAYLOR] = "taylor",
                                        [LEDGE_PRUNE_RANDOM] = "random"};
    return names[j->p.importance];
}

/* What is kept in the model, and the beginning of --json. */
static json_t *record(const Job *j)
{
    if (j->method != CHANNELS)
        return json_pack("{s:s, s:I, s:I, s:I}", "method", method_name(j), "weights",
                         (json_int_t)j->weights, "zeros", (json_int_t)j->zeros, "block",
                         (json_int_t)j->o->block);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:[I,I], s:[I,I]}", "method", method_name(j),
                     "importance", importance_name(j), "scope", j->p.per_layer ? "layer" : "global",
                     "round", (json_int_t)j->p.round, "steps", (json_int_t)j->o->steps, "channels",
                     (json_int_t)j->counts.channels[0], (json_int_t)j->counts.channels[1], "macs",
                     (json_int_t)j->counts.macs[0], (json_int_t)j->counts.macs[1]);
}

static int write_model(Job *j)
{
    LedgeError err = {0};
    json_t *r = record(j);
    char *text = r ? json_dumps(r, JSON_COMPACT) : NULL;
    json_decref(r);
    LedgeStatus s = text ? prune_note(&j->made, RECORD_KEY, text, &err) : LEDGE_ERROR_MEMORY;
    free(text);
    if (s)
        return cli_fail(j->path, &err);
    if (cli_interrupted)
        return cli_was_interrupted();
    if (ledge__out_file_whole(NULL, j->o->out, j->made.bytes, j->made.size, &err))
        return cli_fail_writing(j->o->out, &err);
    return CLI_GO;
}

static json_t *job_json(const Job *j)
{
    json_t *o =
        json_pack("{s:o, s:o, s:I, s:I, s:f, s:o, s:O, s:O}", "model", cli_json_text(j->path),
                  "output", cli_json_text(j->o->out), "input_bytes", (json_int_t)j->in_bytes,
                  "output_bytes", (json_int_t)j->made.size, "seconds", j->seconds, "pruning",
                  record(j), "layers", j->layers, "warnings", j->warnings);
    if (o && j->tune.trained)
        json_object_set_new(
            o, "training",
            json_pack("{s:I, s:o, s:o, s:f}", "epochs", (json_int_t)j->tune.last.epochs, "loss",
                      cli_json_real(j->tune.last.loss), "accuracy",
                      cli_json_real(j->tune.last.accuracy), "seconds", j->tune.last.seconds));
    if (o)
        json_object_set_new(
            o, "latency_ms",
            json_pack("[o,o]", cli_json_real(j->counts.ms[0]), cli_json_real(j->counts.ms[1])));
    if (o && j->method == CHANNELS)
        json_object_set(o, "barriers", j->barriers);
    else if (o)
        json_object_set_new(o, "steps_skipping_zeros", json_integer((json_int_t)j->skipping));
    return o;
}

/* Layers that kept all channels, by the reason why. */
static void print_fixed(const Job *j)
{
    json_t *groups = json_object(), *layer, *names;
    size_t i;
    const char *why;
    json_array_foreach(j->layers, i, layer)
    {
        if (!json_is_true(json_object_get(layer, "fixed")))
            continue;
        const char *key = json_string_value(json_object_get(layer, "why"));
        if (!json_object_get(groups, key))
            json_object_set_new(groups, key, json_array());
        json_array_append(json_object_get(groups, key), json_object_get(layer, "layer"));
    }
    if (json_object_size(groups))
        printf("keeps all channels:\n");
    json_object_foreach(groups, why, names)
    {
        const size_t n = json_array_size(names);
        printf("  ");
        for (i = 0; i < n && i < MOST_NAMED; i++)
            printf("%s%s", i ? ", " : "", cli_clean(json_string_value(json_array_get(names, i))));
        printf("%s: %s\n", n > MOST_NAMED ? ", ..." : "", cli_clean(why));
    }
    json_decref(groups);
}

static void print_latency(const Job *j)
{
    if (isnan(j->counts.ms[0]))
        return;
    printf("latency: %.3g ms instead of %.3g ms (%.2f)\n", j->counts.ms[1], j->counts.ms[0],
           j->counts.ms[1] / j->counts.ms[0]);
}

static void print_weights(const Job *j)
{
    printf("weights: %s of %s are zero (%.3f)", cli_count((uint64_t)j->zeros),
           cli_count((uint64_t)j->weights), (double)j->zeros / (double)j->weights);
    if (j->skipping)
        printf("; skipped in blocks by %zu of %zu steps", j->skipping, j->run_steps);
    printf("\n");
    print_latency(j);
}

static void print_channels(const Job *j)
{
    size_t i, smaller = 0;
    json_t *layer;
    json_array_foreach(j->layers, i, layer) smaller +=
        json_integer_value(json_object_get(layer, "kept")) <
        json_integer_value(json_object_get(layer, "channels"));
    printf("channels: %u of %u left, in %zu of %zu layers fewer\n", j->counts.channels[1],
           j->counts.channels[0], smaller, json_array_size(j->layers));
    printf("multiply-accumulates: %s instead of ", cli_count((uint64_t)j->counts.macs[1]));
    printf("%s (%.3f)\n", cli_count((uint64_t)j->counts.macs[0]),
           j->counts.macs[1] / j->counts.macs[0]);
    print_latency(j);
    if (j->tune.trained)
        printf("trained for %zu epochs in %.0f s: loss %.3f, right %.1f%%\n", j->tune.last.epochs,
               j->tune.last.seconds, j->tune.last.loss, 100 * j->tune.last.accuracy);
    print_fixed(j);
}

static int report(const Job *j)
{
    if (j->o->json)
        return cli_print_json(job_json(j));
    printf("%s: %s", cli_clean(j->o->out), cli_bytes(j->made.size));
    printf(" instead of %s (%.2f)\n", cli_bytes(j->in_bytes),
           j->in_bytes ? (double)j->made.size / (double)j->in_bytes : 0);
    if (j->method == CHANNELS)
        print_channels(j);
    else
        print_weights(j);
    return cli_finish();
}

static int with_interrupts(Job *j)
{
    const uint64_t start = cli_now_ns();
    LedgeError err = {0};
    struct sigaction before;
    cli_interrupts_take(&before);
    int code = prune_tune_open(&j->tune);
    if (code == CLI_GO)
        code = j->method == CHANNELS ? prune_channels(j) : prune_single(j);
    /* What cannot run here may be pruned all the same. */
    if (code == CLI_GO && prune_time(&j->whole, &j->made, (int)j->o->threads, &err, j->counts.ms))
        j->counts.ms[0] = j->counts.ms[1] = NAN;
    if (code == CLI_GO)
        code = write_model(j);
    if (code == CLI_GO && j->method != CHANNELS)
        code = count_skipping(j);
    cli_interrupts_give_back(&before);
    j->seconds = (double)(cli_now_ns() - start) / 1e9;
    return code;
}

static void free_job(Job *j)
{
    prune_tune_free(&j->tune);
    ledge__free(NULL, j->whole.bytes);
    ledge__free(NULL, j->made.bytes);
    free(j->first);
    json_decref(j->layers);
    json_decref(j->barriers);
    json_decref(j->warnings);
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.round = 8, .steps = 1, .block = 1, .training = {.batch = 64, .seed = 1}};
    CliArgs args;
    Job j = {.o = &o, .counts = {.ms = {NAN, NAN}}};
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    j.path = args.items[0];
    j.in_bytes = cli_file_size(j.path);
    j.warnings = json_array();
    code = check(c, &j);
    if (code == CLI_GO)
        code = cli_check_output(j.path, o.out);
    if (code == CLI_GO)
        code = with_interrupts(&j);
    if (code == CLI_GO)
        code = report(&j);
    free_job(&j);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_prune = {
    .name = "prune",
    .arguments = "MODEL",
    .summary = "make a model smaller and faster by removing channels, as standard ONNX",
    .description =
        "Writes MODEL with whole channels removed from its layers: --method channels "
        "follows each channel\n"
        "through the graph and takes out those that matter least together with all that "
        "depend on\n"
        "them. --method magnitude sets the smallest weights to zero, 2:4 two of every "
        "four; they keep\n"
        "their place in the file, and are skipped where --block 16 makes them go together.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
